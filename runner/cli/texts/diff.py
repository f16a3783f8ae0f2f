"""The texts about the differences of two runs."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from runner.cli.echo import escape_line
from runner.cli.texts.scores import format_share
from runner.lifecycle.diff.diff import Accuracy, ComparedRun, Diff
from runner.lifecycle.diff.totals import Example, FieldTotals
from runner.text import pluralize

_MAX_FIELDS, _MAX_EXEMPLIFIED, _MAX_EDITED = 20, 5, 10
_MAX_VALUE, _SHARED = 40, 12
_CAUSES = {
    "data": "the data",
    "prompt": "the prompt",
    "model": "the model",
    "params": "the params",
    "schema": "the schema",
    "file": "the attached files",
    "output": "the rules that judge answers",
}
_OTHER_ANSWERS = "the same requests got other answers"
_ALWAYS_COUNTED, _COUNTED = ("same", "changed", "regressed"), ("fixed", "added", "removed")


def format_diff(diff: Diff) -> str:
    """Return a verdict, then the two runs, counts and causes, fields, and examples."""
    lines = [
        _format_verdict(diff),
        f"  old        {_format_run(diff.old, diff)}",
        f"  new        {_format_run(diff.new, diff)}",
        *_label("edited", _cut(diff.edited, _MAX_EDITED)),
        f"  rows       {_format_counts(diff)}",
        *_label(
            "because", [f"{pluralize(rows, 'row')}: {_name_causes(one)}" for one, rows in diff.because.items()]
        ),
        *_label("scores", _format_scores(diff)),
        *_label("fields", _format_fields(diff)),
        *_label("regressed", _format_rows(diff, "regressed")),
        *_label("fixed", _format_rows(diff, "fixed")),
        *_label("examples", _format_examples(diff)),
        *_label("added", _format_keys(diff, "added")),
        *_label("removed", _format_keys(diff, "removed")),
        *(f"  warning: {line}" for line in diff.warnings),
    ]
    return "\n".join(map(escape_line, lines))


def _label(name: str, lines: Sequence[str]) -> Iterator[str]:
    """Yield lines below each other, the first of them after a label."""
    for index, line in enumerate(lines):
        yield f"  {'' if index else name:9}  {line}"


def _cut(lines: Sequence[str], most: int) -> list[str]:
    left = len(lines) - most
    return [*lines[:most], *([f"and {left:,} more"] if left > 0 else [])]


def _format_verdict(diff: Diff) -> str:
    name = diff.new.spec if diff.new.spec == diff.old.spec else f"{diff.old.spec} and {diff.new.spec}"
    rows = diff.rows
    common = sum(rows[kind] for kind in ("same", "changed", "regressed", "fixed"))
    others = [f"{rows[kind]:,} {kind}" for kind in ("added", "removed") if rows[kind]]
    beside = f"; {' and '.join(others)}" if others else ""
    if not common:
        return f"{name}: no row has a result in both runs{beside}"
    differing = common - rows["same"]
    if not differing:
        return f"{name}: no differences in {pluralize(common, 'row')}{beside}"
    worse = f", {rows['regressed']:,} of them regressed" if rows["regressed"] else ""
    return f"{name}: {differing:,} of {pluralize(common, 'row')} differ{worse}{_format_main_cause(diff)}{beside}"


def _format_main_cause(diff: Diff) -> str:
    """Return why most of the rows differ, in words."""
    first, rows = next(iter(diff.because.items()))
    total = sum(diff.because.values())
    if rows * 2 <= total:
        return ", for several reasons"
    if first == "again":
        return f", {'' if rows == total else 'mostly '}because {_OTHER_ANSWERS}"
    return f", {'' if rows == total else 'mostly '}because of {_name_causes(first)}"


def _name_causes(joined: str) -> str:
    if joined == "again":
        return _OTHER_ANSWERS
    names = [_CAUSES[cause] for cause in joined.split("+")]
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _format_run(run: ComparedRun, diff: Diff) -> str:
    created = datetime.fromtimestamp(run.created_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    spec = f" of {run.spec}" if diff.old.spec != diff.new.spec else ""
    notes = [f", {run.state}" if run.state != "finished" else "", " (simulated)" if run.is_simulated else ""]
    return f"{run.run}{spec}, {created}, {pluralize(run.rows, 'row')}{''.join(notes)}"


def _format_counts(diff: Diff) -> str:
    counts = [f"{diff.rows[kind]:,} {kind}" for kind in _ALWAYS_COUNTED]
    counts += [f"{diff.rows[kind]:,} {kind}" for kind in _COUNTED if diff.rows[kind]]
    pending = diff.rows["pending"]
    return ", ".join([*counts, *([f"{pending:,} without a result yet"] if pending else [])])


def _format_scores(diff: Diff) -> list[str]:
    width = max((len(one.name) for one in diff.scores), default=0)
    lines = [f"{one.name:{width}}  {_format_change(one.old, one.new)}" for one in diff.scores]
    if others := [one.name for one in diff.scores if one.has_other_rule]:
        command = f"`runner evaluate {diff.old.run}` judges it again"
        lines.append(f"{', '.join(others)}: the older run was judged by another rule; {command}")
    return lines


def _format_change(old: Accuracy, new: Accuracy) -> str:
    """Return the shares of right answers; with how many labels, because those of the runs can differ."""
    shares, counts = zip(*map(_format_accuracy, (old, new)), strict=True)
    return f"{' → '.join(shares)} right ({' → '.join(counts)})"


def _format_accuracy(one: Accuracy) -> tuple[str, str]:
    share = "-" if one.share is None else f"{format_share(one.share)} %"
    return share, f"{one.right:,} of {one.labelled:,}"


def _format_fields(diff: Diff) -> list[str]:
    width = max((len(one.field) for one in diff.fields[:_MAX_FIELDS]), default=0)
    return _cut([_format_field(one, diff.compared, width) for one in diff.fields], _MAX_FIELDS)


def _format_field(one: FieldTotals, compared: int, width: int) -> str:
    is_output = one.field != "outcome"
    rows = f"{one.rows:,} of {pluralize(compared, 'row')}" if is_output else pluralize(one.rows, "row")
    return f"{one.field:{width}}  {rows}"


def _format_examples(diff: Diff) -> list[str]:
    """Return examples of the outputs that differ most often; those of outcomes are shown by their kind."""
    shown = [one for one in diff.fields if one.examples and one.field != "outcome"][:_MAX_EXEMPLIFIED]
    return [
        line for one in shown for line in (one.field, *(f"  {_format_example(each)}" for each in one.examples))
    ]


def _format_rows(diff: Diff, kind: str) -> list[str]:
    examples = diff.examples.get(kind, [])
    left = diff.rows[kind] - len(examples)
    return [*map(_format_example, examples), *([f"and {left:,} more"] if left and examples else [])]


def _format_keys(diff: Diff, kind: str) -> list[str]:
    examples = diff.examples.get(kind, [])
    left = diff.rows[kind] - len(examples)
    keys = ", ".join(str(example.key) for example in examples)
    return [f"{keys}{f' and {left:,} more' if left else ''}"] if keys else []


def _format_example(example: Example) -> str:
    old, new = _shorten_alike(_to_text(example.old), _to_text(example.new))
    return f"{example.key}: {old} → {new}"


def _to_text(value: Any) -> str:
    if value is msgspec.UNSET:
        return "(missing)"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return " ".join(text.split()) or '""'


def _shorten_alike(old: str, new: str) -> tuple[str, str]:
    """Return two texts cut to their first difference, with a little of what is before it."""
    pairs = enumerate(zip(old, new, strict=False))
    first = next((at for at, (one, other) in pairs if one != other), min(len(old), len(new)))
    start = first - _SHARED if first > 2 * _SHARED else 0
    return _shorten(old, start), _shorten(new, start)


def _shorten(text: str, start: int) -> str:
    if len(text) <= _MAX_VALUE:
        return text
    shown = text[start : start + _MAX_VALUE]
    return f"{'…' if start else ''}{shown}{'…' if start + _MAX_VALUE < len(text) else ''}"
