"""The text about what a pilot says of the whole job."""

import shlex
from collections.abc import Iterator, Mapping

from runner.cli.echo import escape_line
from runner.cli.signals import program_words
from runner.lifecycle.diff.diff import Diff
from runner.lifecycle.maintain.run_pilot import PilotResult
from runner.pricing.rates import format_dollars
from runner.runs.summary import Summary
from runner.text import pluralize

_MAX_VALUES, _MAX_CHARS = 8, 24


def format_pilot(result: PilotResult[Summary], spec: str) -> str:
    """Return what the whole job will cost, what differs from its last run, and the command that goes on."""
    lines = [] if result.values is None else [f"  by      {_format_values(result.values)}"]
    if result.selected_rows is not None:
        lines.append(f"  all     {_format_whole(result)}")
    if result.diff is not None:
        lines += _format_diff(result.diff)
    return "\n".join([*lines, format_next(spec, is_simulated=result.summary.is_simulated)])


def format_whole(result: PilotResult[Summary]) -> str:
    """Return on one line what the whole job of a variant will cost."""
    return f"{result.summary.spec}: {_format_whole(result)}"


def format_next(spec: str, *, is_simulated: bool) -> str:
    """Return the command that goes on after a pilot."""
    simulate = ["--simulate"] if is_simulated else []
    return f"  go on   {shlex.join([*program_words(), 'run', spec, *simulate])}"


def _format_whole(result: PilotResult[Summary]) -> str:
    return f"{pluralize(result.selected_rows or 0, 'row')}: {_format_cost(result)}"


def _format_values(values: Mapping[str, int]) -> str:
    """Return how many rows of the sample have each value: of many values, the most frequent."""
    shown = list(values.items())[:_MAX_VALUES]
    parts = [f"{rows:,} {escape_line(_cut(value))}" for value, rows in shown]
    if len(values) > len(shown):
        rest = sum(values.values()) - sum(rows for _, rows in shown)
        parts.append(f"{rest:,} of {pluralize(len(values) - len(shown), 'other value')}")
    return ", ".join(parts)


def _cut(value: str) -> str:
    return f"{value[: _MAX_CHARS - 1]}…" if len(value) > _MAX_CHARS else value or "(empty)"


def _format_cost(result: PilotResult[Summary]) -> str:
    cost = result.cost
    if cost is None:
        return "cost unknown"
    low, high = format_dollars(cost.low), format_dollars(cost.high)
    text = f"about {format_dollars(cost.expected)}"
    if low != high:
        text += f" (very likely {low} to {high})"
    if cost.with_cache is None:
        return text
    return f"{text} without a prompt cache, about {format_dollars(cost.with_cache)} with it"


def _format_diff(diff: Diff) -> Iterator[str]:
    """Yield how the rows of a pilot differ from the last run; most rows of that run are not in it."""
    rows = diff.rows
    common = sum(rows[kind] for kind in ("same", "changed", "regressed", "fixed"))
    if not common:
        return
    worse = ", ".join(f"{rows[kind]:,} {kind}" for kind in ("regressed", "fixed") if rows[kind])
    differing = f"{common - rows['same']:,} of {pluralize(common, 'row')} differ from run {diff.old.run}"
    yield f"  before  {differing}{worse and f': {worse}'}"
    if common - rows["same"]:
        yield f"          {shlex.join([*program_words(), 'diff', diff.old.run, diff.new.run])}"
