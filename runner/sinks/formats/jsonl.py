"""JSON Lines sink: one object per row."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import msgspec

from runner.sinks.destination import Destination
from runner.sinks.parts import RowsPerPart, open_parts


def write_jsonl(
    destination: Destination,
    columns: Iterable[str],
    *,
    parts: bool = False,
    rows_per_part: RowsPerPart = 1_000_000,
) -> AbstractContextManager[Callable[[Sequence[Any]], None]]:
    """Write JSON Lines: one object per row.

    Return a context that yields a function that writes one row of values, in the order of `columns`.

    Settings:
        parts: Write a folder of files `part-00000.jsonl`, `part-00001.jsonl`… in the order of the rows, and
            `_SUCCESS` last.
    """
    names = list(columns)
    if not parts:
        return _write_file(destination, names)
    return open_parts(
        destination, lambda part: _write_file(part, names), suffix=".jsonl", rows_per_part=rows_per_part
    )


@contextmanager
def _write_file(destination: Destination, names: list[str]) -> Iterator[Callable[[Sequence[Any]], None]]:
    encoder = msgspec.json.Encoder()
    with destination.open_file() as file:

        def write(values: Sequence[Any]) -> None:
            file.write(encoder.encode(dict(zip(names, values, strict=True))) + b"\n")

        yield write
