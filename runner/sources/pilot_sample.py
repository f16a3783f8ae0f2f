"""Draw the rows of a pilot: a random sample in which each value of a column has its share."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from runner.errors import InputError, Problem
from runner.sources.input_files import Inputs
from runner.sources.select_rows import RawRow
from runner.spec.schema_errors import suggest_similar
from runner.spec.spec import Pilot

_MAX_VALUES = 200


@dataclass(slots=True)
class _Stratum:
    """The rows of one value: the number of all, and a uniform sample of them with their places in the source."""

    rows: int = 0
    held: list[tuple[int, RawRow]] = field(default_factory=list)

    def add(self, place: int, row: RawRow, most: int, chance: random.Random) -> None:
        """Add a row, which takes the place of another one by chance once there are `most`."""
        self.rows += 1
        if len(self.held) < most:
            self.held.append((place, row))
        elif (index := chance.randrange(self.rows)) < most:
            self.held[index] = place, row


def draw_pilot(rows: Iterator[RawRow], pilot: Pilot, inputs: Inputs) -> Iterator[RawRow]:
    """Yield the sample of a pilot in source order; `inputs.selected_rows` is then the number of all rows.

    Memory holds the sample alone, for each value of the column. Raises InputError if there is no such column, or
    if it has more than 200 values.
    """
    chance, strata, place = random.Random(pilot.seed), dict[str, _Stratum](), -1  # noqa: S311 - must be repeatable
    for place, row in enumerate(rows):
        value = "" if pilot.by is None else _read_value(row, pilot.by)
        if value not in strata and len(strata) == _MAX_VALUES:
            message = f"{pilot.by} has more than {_MAX_VALUES} values: choose a column with fewer for --by"
            raise InputError([Problem(row[0], message, row[1])])
        strata.setdefault(value, _Stratum()).add(place, row, pilot.rows, chance)
    inputs.selected_rows = place + 1
    shares = _share_out(pilot.rows, [stratum.rows for stratum in strata.values()])
    drawn = [
        pair
        for stratum, share in zip(strata.values(), shares, strict=True)
        for pair in chance.sample(stratum.held, min(share, len(stratum.held)))
    ]
    yield from (row for _, row in sorted(drawn, key=lambda pair: pair[0]))


def _read_value(row: RawRow, column: str) -> str:
    path, line, fields = row
    if column not in fields:
        raise InputError(
            [Problem(path, f"no column {column!r} for --by: {suggest_similar(column, fields)}", line)]
        )
    return msgspec.json.encode(fields[column]).decode()


def _share_out(wanted: int, sizes: list[int]) -> list[int]:
    """Return how many rows to draw of each size, in proportion; the largest remainders are rounded up."""
    total = sum(sizes)
    if wanted >= total:
        return sizes
    exact = [wanted * size / total for size in sizes]
    shares = [int(one) for one in exact]
    rest = sorted(range(len(sizes)), key=lambda index: shares[index] - exact[index])
    for index in rest[: wanted - sum(shares)]:
        shares[index] += 1
    return shares
