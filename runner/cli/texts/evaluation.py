"""The text of `evaluate`: the scores of a run, with its classes and what they are confused with."""

from collections.abc import Iterator, Sequence

from runner.cli.echo import escape_line
from runner.cli.texts.scores import format_scores
from runner.evaluation.class_table import MAX_CLASSES, MAX_NAME_CHARS
from runner.evaluation.metrics import ClassScore
from runner.evaluation.score import Confused, Score
from runner.lifecycle.maintain.evaluate import EvaluatedRun
from runner.text import pluralize

_MAX_MATRIX, _MAX_PAIRS, _MAX_CELL = 8, 20, 24
_UNANSWERED = "(unanswered)"


def format_evaluation(evaluated: EvaluatedRun) -> str:
    """Return the scores of a run, and the figures of the classes of each evaluation."""
    lines = [
        f"{evaluated.spec}: run {evaluated.run}, {pluralize(evaluated.rows, 'row')}",
        f"  labels  {_describe_labels(evaluated)}",
        *format_scores(evaluated.evaluation, is_simulated=evaluated.is_simulated),
    ]
    for score in evaluated.evaluation:
        if score.has_many_classes:
            most = f"{MAX_CLASSES} different values, or one of over {MAX_NAME_CHARS} characters"
            lines += ["", f"{score.name}: no table, because there are more than {most}"]
        elif score.classes:
            lines += ["", f"{score.name}:", *_format_classes(score.classes)]
            lines += ["", *confusion] if (confusion := list(_format_confusion(score))) else []
    return "\n".join(map(escape_line, lines))


def _describe_labels(evaluated: EvaluatedRun) -> str:
    if evaluated.labels_from is not None:
        without = pluralize(evaluated.unlabelled or 0, "row")
        return f"from {evaluated.labels_from} as it is now; {without} of the run have none"
    return "as the run read them" + (f": {evaluated.unread}" if evaluated.unread is not None else "")


def align_columns(rows: Sequence[Sequence[str]], *, names: int = 1) -> Iterator[str]:
    """Yield lines whose first columns, of `names`, are to the left, and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, strict=True)
        aligned = [
            cell.ljust(width) if at < names else cell.rjust(width) for at, (cell, width) in enumerate(cells)
        ]
        yield "  " + "  ".join(aligned)


def _cut(name: str) -> str:
    line = " ".join(name.split())
    return line if len(line) <= _MAX_CELL else f"{line[: _MAX_CELL - 1]}…"


def _format_share(share: float | None) -> str:
    return "-" if share is None else f"{share:.3f}"


def _format_classes(classes: Sequence[ClassScore]) -> Iterator[str]:
    rows: list[tuple[str, ...]] = [("expected", "precision", "recall", "F1", "rows")]
    for one in classes:
        shares = map(_format_share, (one.precision, one.recall, one.f1))
        rows.append((_cut(one.name), *shares, f"{one.support:,}"))
    yield from align_columns(rows)


def _format_confusion(score: Score) -> Iterator[str]:
    """Yield the table of a few classes, or else the most frequent confusions."""
    pairs, names = score.confusion or [], [one.name for one in score.classes or ()]
    if len(names) <= _MAX_MATRIX:
        yield from _format_matrix(pairs, names)
        return
    wrong = [pair for pair in pairs if pair.expected != pair.actual]
    if not wrong:
        return
    yield from align_columns([("expected", "answered", "rows"), *map(_format_pair, wrong[:_MAX_PAIRS])], names=2)
    if left := sum(pair.rows for pair in wrong[_MAX_PAIRS:]):
        yield f"  and {pluralize(left, 'row')} of {pluralize(len(wrong) - _MAX_PAIRS, 'other pair')}"


def _format_pair(pair: Confused) -> tuple[str, str, str]:
    return _cut(pair.expected), _UNANSWERED if pair.actual is None else _cut(pair.actual), f"{pair.rows:,}"


def _format_matrix(pairs: Sequence[Confused], names: Sequence[str]) -> Iterator[str]:
    counts = {(pair.expected, pair.actual): pair.rows for pair in pairs}
    columns: list[str | None] = [*names]
    if any(pair.actual is None for pair in pairs):
        columns.append(None)
    rows = [("answered:", *(_UNANSWERED if name is None else _cut(name) for name in columns))]
    rows += [(_cut(name), *(f"{counts.get((name, column), 0):,}" for column in columns)) for name in names]
    yield from align_columns(rows)
