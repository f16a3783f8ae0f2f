"""That the keys of a run's rows are unique, and where they are not."""

from collections.abc import Iterator

import msgspec

from runner.errors import InputError, Problem
from runner.sources import Inputs, read
from runner.spec import Spec
from runner.store import RunFolder, Store


class _Key(msgspec.Struct):
    key: str | int


def _keys(folder: RunFolder) -> Iterator[str]:
    decode = msgspec.json.Decoder(_Key).decode
    with folder.rows.open("rb") as file:
        for line in file:
            yield str(decode(line).key)


def check_keys(spec: Spec, store: Store, folder: RunFolder) -> None:
    """Raise InputError that names the rows whose keys repeat, if there are any, by their places in the source."""
    pairs = store.repeated()
    wanted = {row for pair in pairs for row in pair}
    keys = {row: key for row, key in enumerate(_keys(folder), 1) if row in wanted} if wanted else {}
    repeated = [(first, second) for first, second in pairs if keys[first] == keys[second]]
    if not repeated:
        return
    places = _places(spec, {row for pair in repeated for row in pair})
    problems = []
    for first, second in repeated:
        path, line = places.get(second, (spec.source.path, 0))
        where = "{}:{}".format(*places[first]) if first in places else f"row {first}"
        message = f"{spec.source.key} {keys[second]!r} is the key of {where} already: keys must be unique"
        problems.append(Problem(path, message, line))
    raise InputError(problems)


def _places(spec: Spec, wanted: set[int]) -> dict[int, tuple[str, int]]:
    """Where rows stand, found by reading the source once more; standard input is gone by now."""
    if spec.source.path == "-":
        return {}
    rows = read(spec.source, Inputs(spec.root), limit=max(wanted))
    return {row.number: (row.path, row.line) for row in rows if row.number in wanted}
