"""custom_ids: `<run>-<round>-<batch>-<row>`.

They say which request a result belongs to, and carry no data of the row.
"""

import re

_ROW_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")


def make_custom_id(run: str, round: int, batch: int, row: int) -> str:
    """Return the id of a request; it identifies its row without revealing a key of the user's data."""
    return f"{custom_id_prefix(run, round, batch)}{row}"


def custom_id_prefix(run: str, round: int, batch: int) -> str:
    """Return the start that all custom_ids of a batch share: everything before the row number."""
    return f"{run}-{round}-{batch}-"


def parse_row_number(custom_id: str, *, prefix: str) -> int | None:
    """Return the row number in a custom_id, or None if it does not start with the batch's `prefix`."""
    number = custom_id.removeprefix(prefix)
    return int(number) if number != custom_id and _ROW_NUMBER.fullmatch(number) else None
