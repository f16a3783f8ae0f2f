"""Draw the rows of a pilot: a random sample in which each value of a column has its share."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from heapq import heappush, heapreplace

import msgspec

from runner.errors import InputError, Problem
from runner.sources.input_files import Inputs
from runner.sources.select_rows import RawRow
from runner.spec.schema_errors import suggest_similar
from runner.spec.spec import Pilot

_MAX_VALUES = 200


@dataclass(slots=True)
class _Stratum:
    """The rows of one value: their number, and those with the lowest random numbers, the highest of them first.

    A larger sample with the same seed contains a smaller one, so that nothing of it is paid again.
    """

    rows: int = 0
    held: list[tuple[float, int, RawRow]] = field(default_factory=list)

    def add(self, place: int, row: RawRow, most: int, lot: float) -> None:
        """Add a row, which stays if its lot is among the lowest."""
        self.rows += 1
        if len(self.held) < most:
            heappush(self.held, (-lot, place, row))
        elif -lot > self.held[0][0]:
            heapreplace(self.held, (-lot, place, row))

    def draw(self, count: int) -> list[tuple[int, RawRow]]:
        """Return the places and rows of so many with the lowest lots."""
        return [(place, row) for _, place, row in sorted(self.held, reverse=True)[:count]]


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
        strata.setdefault(value, _Stratum()).add(place, row, pilot.rows, chance.random())
    inputs.selected_rows = place + 1
    shares = _share_out(pilot.rows, [stratum.rows for stratum in strata.values()])
    drawn = [pair for stratum, share in zip(strata.values(), shares, strict=True) for pair in stratum.draw(share)]
    yield from (row for _, row in sorted(drawn, key=lambda pair: pair[0]))


def _read_value(row: RawRow, column: str) -> str:
    path, _, fields = row
    if column not in fields:
        raise InputError([Problem(path, f"no column {column!r} for --by: {suggest_similar(column, fields)}")])
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
