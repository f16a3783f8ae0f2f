"""Display of plans, progress and summaries: a live table on a terminal, plain lines in a pipe."""

import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from runner.cost import rounded
from runner.lifecycle.decide import Unknown
from runner.lifecycle.inspect import Found
from runner.lifecycle.job import Report, Summary, plural
from runner.lifecycle.planning import Plan

if TYPE_CHECKING:
    from rich.table import Table

_BAR_WIDTH = 28


def size(count: float) -> str:
    """Format a number of bytes with its unit."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def duration(seconds: float) -> str:
    """Format a number of seconds, in minutes and hours if it is long."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def _states(summary: Summary) -> str:
    counts: dict[str, int] = {}
    for batch in summary.batches:
        counts[batch["state"]] = counts.get(batch["state"], 0) + 1
    return ", ".join(f"{count:,} {state}" for state, count in counts.items()) or "none yet"


def _outcomes(summary: Summary) -> str:
    return ", ".join(f"{count:,} {outcome}" for outcome, count in summary.outcomes.items()) or "none yet"


def _table(summary: Summary, line: str, began: float) -> "Table":
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    table = Table(title=f"{summary.spec}  run {summary.run}", title_justify="left", show_header=False, box=None)
    done = sum(summary.outcomes.values())
    table.add_row("batches", _states(summary))
    table.add_row("rows", f"{done:,} of {summary.rows:,}")
    table.add_row("", ProgressBar(total=summary.rows or 1, completed=done, width=_BAR_WIDTH))
    table.add_row("outcomes", _outcomes(summary))
    table.add_row("elapsed", duration(summary.seconds + time.monotonic() - began))
    table.add_row("now", line)
    return table


@dataclass(frozen=True, slots=True)
class Progress:
    """Display that a run reports to; `paused` stops its refresh while a question is asked."""

    report: Report
    paused: Callable[[], AbstractContextManager[None]] = nullcontext


@contextmanager
def _live() -> Iterator[Progress]:
    from rich.console import Console
    from rich.live import Live

    shown: dict[str, Any] = {}

    def render() -> Any:
        return _table(shown["summary"], shown["line"], shown["at"]) if shown else "starting"

    def report(line: str, summary: Summary) -> None:
        shown.update(line=line, summary=summary, at=time.monotonic())

    @contextmanager
    def paused() -> Iterator[None]:
        live.transient = True
        live.stop()
        live.transient = False
        yield
        live.start()

    with Live(get_renderable=render, console=Console(stderr=True), refresh_per_second=5) as live:
        yield Progress(report, paused)


def _print(line: str, summary: Summary) -> None:
    # A log that cannot be written must not stop the run.
    with suppress(OSError):
        click.echo(f"{time.strftime('%H:%M:%S')} {summary.spec}: {line}", err=True)


@contextmanager
def progress() -> Iterator[Progress]:
    """Show reports on stderr: as a live table if it is a terminal, else as one line each."""
    if not sys.stderr.isatty():
        yield Progress(_print)
        return
    with _live() as live:
        yield live


def _shown_place(sink: Mapping[str, Any]) -> str:
    """Return the destination of a sink; a path below the working folder is shown relative to it."""
    path = str(sink["path"])
    relative = path if "://" in path else os.path.relpath(path)
    table = f" {sink['table']}" if "table" in sink else ""
    return (path if relative.startswith("..") else relative) + table


def _bill(summary: Summary) -> Iterator[str]:
    cost = summary.cost
    if cost["actual"] is None:
        return
    estimate = f", estimated {dollars(cost['estimated'])}" if cost["estimated"] is not None else ""
    saved = f"; saved {dollars(cost['saved'])} compared to synchronous requests" if cost["saved"] else ""
    yield f"  cost    {dollars(cost['actual'])}{estimate}{saved}"


def conclusion(summary: Summary, *, is_simulated: bool) -> str:
    """Return the summary of a finished run: outcomes, duration, tokens, cost and outputs."""
    took = duration(summary.seconds) + (" (simulated)" if is_simulated else "")
    lines = [
        f"{summary.spec}: {plural(summary.rows, 'row')}, {_outcomes(summary)}, in {took}",
        f"  run     {summary.run}",
        f"  tokens  {summary.usage['input_tokens']:,} in, {summary.usage['output_tokens']:,} out",
        *_bill(summary),
    ]
    paths = [_shown_place(sink) for sink in summary.sinks]
    width = max(map(len, paths), default=0)
    for index, (path, sink) in enumerate(zip(paths, summary.sinks, strict=True)):
        lines.append(f"  {'' if index else 'wrote':6}  {path:{width}}  {plural(sink['rows'], 'row')}")
    return "\n".join(lines)


def unfinished(summary: Summary, command: str) -> str:
    """Return the message about an unfinished run, with the command that resumes it."""
    return (
        f"{summary.spec}: run {summary.run} is unfinished (batches: {_states(summary)}); nothing was canceled\n"
        f"  resume with: {command}"
    )


def unknown(batch: Unknown) -> str:
    """Describe a batch whose creation got no response, and the remote batches that could be it."""
    sent_at = datetime.fromtimestamp(batch.intent_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    lines = [
        f"{batch.name} ({plural(batch.requests, 'request')}), sent at {sent_at}: unknown whether it was accepted"
    ]
    for remote in batch.candidates:
        created_at = datetime.fromtimestamp(remote.created_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        lines.append(f"  could be {remote.id}, created at {created_at}, {remote.processing_status}")
    if not batch.candidates:
        lines.append("  no batch in the workspace could be it")
    return "\n".join(lines)


_WAYS = {
    "sync": "synchronously",
    "batch": "in batches",
    "batch_cache_5m": "in batches, cached for 5 minutes",
    "batch_cache_1h": "in batches, cached for 1 hour",
}
_REASONS = {
    "data": "the row data is new or changed",
    "prompt": "the prompt has changed",
    "params": "the params have changed",
    "again": "there is no result to reuse",
}


def dollars(amount: float | None) -> str:
    """Format an amount in US dollars, rounded up."""
    if amount is None:
        return "unknown"
    return f"${math.ceil(amount * 100 - 1e-6) / 100:,.2f}" if amount >= 10 else f"${rounded(amount):,.4f}"


def _requests(plan: Plan) -> str:
    reused = f", {plan.reused:,} reused" if plan.reused else ""
    rejected = f", {plan.rejected:,} rejected" if plan.rejected else ""
    where = f" in {plural(plan.batches, 'batch')} ({size(plan.bytes)})" if plan.new else ""
    return f"{plan.new:,} to send{where}{reused}{rejected}"


def plan(made: Plan) -> str:
    """Return a plan as text: what a run would send and cost."""
    tokens, output = made.input_tokens, made.output_tokens
    lines = [
        f"{made.spec}: {plural(made.rows, 'row')} for {made.model}",
        f"  requests  {_requests(made)}",
    ]
    if made.new:
        error = f" ± {max(tokens['error'], 0.001):.1%}" if tokens["error"] else ""
        is_told = made.reused or list(made.because) != ["data"]
        lines += [
            *(_reason(reason, share) for reason, share in made.because.items() if is_told),
            f"  input     {tokens['value']:,} tokens{error}, {tokens['method']}",
            f"  output    {output['expected']:,} tokens, {output['method']}; maximum {output['worst']:,}",
            f"  time      {made.outlook}",
            *_costs(made),
        ]
    if made.why:
        lines.append(f"  mode      {'synchronously' if made.mode == 'sync' else 'in batches'}, {made.why}")
    if made.under_way is not None:
        lines.append(f"  unfinished run {made.under_way} of this spec")
    return "\n".join([*lines, *map(str, made.findings)])


def _reason(reason: str, share: dict[str, Any]) -> str:
    return f"            {share['rows']:,} ({dollars(share['cost'])}) because {_REASONS[reason]}"


def _costs(made: Plan) -> Iterator[str]:
    amounts = {way: dollars(made.cost[way]) for way in _WAYS}
    width = max(map(len, amounts.values()))
    for index, (way, label) in enumerate(_WAYS.items()):
        mark = f"  cheapest: {made.cheapest_why}" if way == made.cheapest else ""
        yield f"  {'' if index else 'cost':8}  {amounts[way]:>{width}}  {label}{mark}"
    cap = f", capped at {dollars(made.max_cost)}" if made.max_cost is not None else ""
    yield f"            {dollars(made.cost['worst']):>{width}}  maximum{cap}"


def runs(found: Sequence[Found]) -> "Table":
    """Return a table of runs."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("run", "spec", "state", "rows", "outcomes", "batches", "cost", ""):
        table.add_column(name, justify="right" if name in ("rows", "cost") else "left")
    for run in found:
        summary = run.summary
        note = "simulated" if run.is_simulated else ""
        table.add_row(
            summary.run,
            summary.spec,
            summary.state,
            f"{summary.rows:,}",
            _outcomes(summary),
            _states(summary),
            "" if summary.cost["actual"] is None else dollars(summary.cost["actual"]),
            note,
        )
    return table
