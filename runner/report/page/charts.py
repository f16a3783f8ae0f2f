"""Geometry of the charts: what is drawn where; the templates draw it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from runner.evaluation.score import Score
from runner.report.figures import BatchFigures, RoundFigures, Spread
from runner.report.words import format_day, format_number
from runner.results.outcome_names import OUTCOMES
from runner.text import format_duration

WIDTH, HEIGHT = 360, 96
_LANE = 14
_MAX_LANES = 60


class Box(NamedTuple):
    """A rectangle, the class of its color, and the text that a pointer shows."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """The bars of a spread, the ends of its axis, and a sentence that says the same."""

    bars: Sequence[Box]
    first: str
    last: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """Batches on a time axis: a bar each, and the ends of the axis; `left_out` counts those that are not drawn."""

    bars: Sequence[Box]
    height: int
    first: float
    last: float
    sentence: str
    left_out: int


def draw_histogram(spread: Spread, unit: str = "", *, is_date: bool = False) -> Histogram:
    """Return the histogram of a spread."""
    shown = format_day if is_date else format_number
    highest = max(one.values for one in spread.bins)
    step = WIDTH / len(spread.bins)
    bars = []
    for at, (low, high, count) in enumerate(spread.bins):
        height = 0 if not count else max(1.5, HEIGHT * count / highest)
        text = f"{_name_bin(low, high, shown, is_whole=spread.is_whole)}{unit}: {count:,}"
        width = max(step - 1.5, 0.5)
        bars.append(
            Box(round(at * step, 2), round(HEIGHT - height, 2), round(width, 2), round(height, 2), "bar", text)
        )
    return Histogram(
        bars,
        shown(spread.bins[0].low if len(spread.bins) > 1 else spread.low),
        shown(spread.high),
        f"{spread.count:,} values from {shown(spread.low)} to {shown(spread.high)}{unit}, "
        f"median {shown(spread.median)}, 95 % up to {shown(spread.p95)}",
    )


def _name_bin(low: float, high: float, shown: Callable[[float], str], *, is_whole: bool) -> str:
    if is_whole:
        return shown(low) if high - low <= 1 else f"{shown(low)} to {shown(high - 1)}"
    return f"{shown(low)} to {shown(high)}"


def draw_round(figures: RoundFigures) -> list[Box]:
    """Return the outcomes of a round as parts of one bar."""
    parts = [(name, figures.outcomes[name]) for name in OUTCOMES if figures.outcomes.get(name)]
    pending = max(0, figures.requests - figures.again - sum(figures.outcomes.values()))
    parts += [(name, count) for name, count in (("sent again", figures.again), ("pending", pending)) if count]
    total, x, boxes = sum(count for _, count in parts), 0.0, []
    for name, count in parts:
        width = WIDTH * count / total
        boxes.append(
            Box(round(x, 2), 0, round(max(width, 1), 2), 16, name.replace(" ", "-"), f"{name}: {count:,}")
        )
        x += width
    return boxes


def draw_timeline(batches: Sequence[BatchFigures], now: float) -> Timeline | None:
    """Return a time axis with the batches that were sent; None if no batch was."""
    sent = [(one, one.created_at, one.ended_at or now) for one in batches if one.created_at is not None]
    if not sent:
        return None
    first, last = min(start for _, start, _ in sent), max(end for _, _, end in sent)
    scale = WIDTH * 2 / max(last - first, 0.001)
    bars = []
    for lane, (batch, start, end) in enumerate(sent[:_MAX_LANES]):
        lasted = f"{format_duration(max(end - start, 0))}{'' if batch.ended_at else ' so far'}"
        text = f"batch {batch.name}: {batch.requests:,} requests, {lasted}"
        width = max((end - start) * scale, 2)
        kind = "bar" if batch.ended_at else "pending"
        bars.append(Box(round((start - first) * scale, 2), lane * _LANE, round(width, 2), _LANE - 3, kind, text))
    ended = sorted(end - start for one, start, end in sent if one.ended_at)
    typical = f", half of them within {format_duration(ended[len(ended) // 2])}" if ended else ""
    sentence = f"{len(sent):,} batches in {format_duration(last - first)}{typical}"
    return Timeline(bars, len(bars) * _LANE, first, last, sentence, len(sent) - len(bars))


_MAX_CLASSES = 12
_NO_ANSWER = "no valid answer"


class Cell(NamedTuple):
    """The rows with one label and one answer; `heat` is 0, 1 or 2, the more of the label's rows they are."""

    rows: int
    heat: int
    is_right: bool


class MatrixLine(NamedTuple):
    """The answers to the rows with one label."""

    label: str
    cells: Sequence[Cell]


class Matrix(NamedTuple):
    """The confusion matrix of an evaluation."""

    answers: Sequence[str]
    lines: Sequence[MatrixLine]


def draw_matrix(score: Score) -> Matrix | None:
    """Return the confusion matrix of an evaluation; None if it has no classes, or too many to be read."""
    if not score.confusion or score.classes is None or len(score.classes) > _MAX_CLASSES:
        return None
    rows = {(one.expected, one.actual): one.rows for one in score.confusion}
    names: list[str | None] = [one.name for one in score.classes]
    answers = [*names, None] if any(actual is None for _, actual in rows) else names
    lines = [_draw_line(one.name, answers, rows) for one in score.classes if one.support]
    return Matrix([_NO_ANSWER if name is None else name for name in answers], lines)


def _draw_line(
    label: str, answers: Sequence[str | None], rows: Mapping[tuple[str, str | None], int]
) -> MatrixLine:
    counts = [rows.get((label, name), 0) for name in answers]
    whole = sum(counts)
    heats = [0 if count < 0.1 * whole else 1 if count < 0.4 * whole else 2 for count in counts]
    cells = zip(counts, heats, (name == label for name in answers), strict=True)
    return MatrixLine(label, [Cell(*one) for one in cells])
