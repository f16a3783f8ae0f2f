"""Count values one after the other, in memory that does not grow with the rows."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date

from runner.report.figures import Bin, Spread, ValueCount

_MAX_EXACT, _MAX_CELLS, _MAX_VALUES = 256, 512, 200
_MAX_VALUE_CHARS = 80
_BINS = 24
_MAX_NUMBER = 1e150
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(?:$|[T ]\d{2}:\d{2})")


class NumberTotals:
    """Numbers that are counted exactly while few differ, and then in cells of equal width.

    The width is a power of two, so that two cells merge into one of the double width without an error.
    """

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0.0
        self._low, self._high = math.inf, -math.inf
        self._is_whole = True
        self._width = 0.0
        self._cells: Counter[float] = Counter()

    def add(self, value: float) -> None:
        """Count a number; one that is not finite, or nearly so, is left out."""
        try:
            number = float(value)
        except OverflowError:
            return
        if not abs(number) < _MAX_NUMBER:
            return
        self.count += 1
        self._sum += number
        self._low, self._high = min(self._low, number), max(self._high, number)
        self._is_whole = self._is_whole and number.is_integer()
        self._cells[math.floor(number / self._width) if self._width else number] += 1
        if len(self._cells) > (_MAX_CELLS if self._width else _MAX_EXACT):
            self._widen()

    def _widen(self) -> None:
        """Merge cells until they are few enough."""
        if not self._width:
            self._width = 2.0 ** math.floor(math.log2((self._high - self._low) / _MAX_EXACT))
            self._cells = _merge((math.floor(value / self._width), count) for value, count in self._cells.items())
        while len(self._cells) > _MAX_EXACT:
            self._width *= 2
            self._cells = _merge((cell // 2, count) for cell, count in self._cells.items())

    def _list_cells(self) -> list[tuple[float, int]]:
        """Return the middle of each cell with its count, ascending."""
        width = self._width
        middles = ((cell * width + width / 2 if width else cell, count) for cell, count in self._cells.items())
        return sorted((min(max(middle, self._low), self._high), count) for middle, count in middles)

    def spread(self) -> Spread | None:
        """Return how the numbers are spread; None if there are none."""
        if not self.count:
            return None
        cells = self._list_cells()
        return Spread(
            count=self.count,
            low=self._low,
            high=self._high,
            mean=self._sum / self.count,
            median=_find_quantile(cells, 0.5, self.count),
            p95=_find_quantile(cells, 0.95, self.count),
            is_whole=self._is_whole,
            bins=_make_bins(cells, self._low, self._high, is_whole=self._is_whole),
        )


def _merge(cells: Iterator[tuple[float, int]]) -> Counter[float]:
    merged: Counter[float] = Counter()
    for cell, count in cells:
        merged[cell] += count
    return merged


def _find_quantile(cells: Sequence[tuple[float, int]], share: float, total: int) -> float:
    seen = 0
    for value, count in cells:
        seen += count
        if seen >= share * total:
            return value
    return cells[-1][0]


def _make_bins(cells: Sequence[tuple[float, int]], low: float, high: float, *, is_whole: bool) -> list[Bin]:
    """Return bins of a round width that hold all cells: of integers, a bin holds as many as any other."""
    width = _round_width((high - low) / _BINS, is_whole=is_whole)
    first = math.floor(low / width)
    count = math.floor(high / width) - first + 1
    counts = [0] * count
    for value, rows in cells:
        counts[min(max(math.floor(value / width) - first, 0), count - 1)] += rows
    return [Bin((first + at) * width, (first + at + 1) * width, rows) for at, rows in enumerate(counts)]


def _round_width(width: float, *, is_whole: bool) -> float:
    """Return the least of 1, 2, 5, 10, 20, ... and their tenths that is not below `width`."""
    if width <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(width))
    rounded = next(step * power for step in (1, 2, 5, 10) if step * power >= width * (1 - 1e-9))
    return max(rounded, 1.0) if is_whole else rounded


@dataclass(slots=True)
class ValueTotals:
    """Texts that are counted while few differ; `is_full` once there are too many, and then none are kept."""

    counts: Counter[str] = field(default_factory=Counter)
    is_full: bool = False

    def add(self, value: str) -> None:
        """Count a text. A long one is cut, so that all that are kept are short."""
        if self.is_full:
            return
        self.counts[value if len(value) <= _MAX_VALUE_CHARS else f"{value[:_MAX_VALUE_CHARS]}…"] += 1
        if len(self.counts) > _MAX_VALUES:
            self.is_full = True
            self.counts.clear()

    def most_common(self) -> list[ValueCount]:
        """Return the values, the most frequent first."""
        return [ValueCount(value, count) for value, count in self.counts.most_common()]


def read_day(text: str) -> int | None:
    """Return the day of a date or a time in ISO 8601, counted from the year 1; None for any other text."""
    if _DATE.match(text) is None:
        return None
    try:
        return date.fromisoformat(text[:10]).toordinal()
    except ValueError:
        return None
