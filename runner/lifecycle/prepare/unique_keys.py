"""Check that row keys are unique, and report duplicates with their location."""

from collections.abc import Iterator

import msgspec

from runner.errors import InputError, Problem
from runner.sources.input_files import Inputs
from runner.sources.read import read_rows
from runner.spec.spec import Spec
from runner.store.run_folder import RunFolder
from runner.store.store import Store


class _Key(msgspec.Struct):
    key: str | int


def _read_keys(folder: RunFolder) -> Iterator[str]:
    decode = msgspec.json.Decoder(_Key).decode
    with folder.rows.open("rb") as file:
        for line in file:
            yield str(decode(line).key)


def check_unique_keys(spec: Spec, store: Store, folder: RunFolder) -> None:
    """Raise InputError if rows share a key; it names these rows by their locations in the source."""
    pairs = store.key_hashes.take_duplicates()
    wanted = {row for pair in pairs for row in pair}
    keys = {row: key for row, key in enumerate(_read_keys(folder), 1) if row in wanted} if wanted else {}
    repeated = [(first, second) for first, second in pairs if keys[first] == keys[second]]
    if not repeated:
        return
    places = _find_positions(spec, {row for pair in repeated for row in pair})
    problems = []
    for first, second in repeated:
        path, line = places.get(second, (spec.source.path, 0))
        where = "{}:{}".format(*places[first]) if first in places else f"row {first}"
        message = (
            f"duplicate key: {spec.source.key} {keys[second]!r} is already used by {where}; "
            "keys must be unique, so give one of the two another key"
        )
        problems.append(Problem(path, message, line))
    raise InputError(problems)


def _find_positions(spec: Spec, wanted: set[int]) -> dict[int, tuple[str, int]]:
    """Locate rows as (path, line) by reading the source again; standard input can be read only once."""
    if spec.source.path == "-":
        return {}
    rows = read_rows(spec.source, Inputs(spec.root), limit=max(wanted))
    return {row.number: (row.path, row.line) for row in rows if row.number in wanted}
