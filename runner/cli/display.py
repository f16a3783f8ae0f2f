"""How a run looks while it goes and when it is over: a live table on a terminal, plain lines in a pipe."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from runner.lifecycle import Found, Offer, Report, Summary, Unknown, plural

if TYPE_CHECKING:
    from rich.table import Table

_BAR_WIDTH = 28


def size(count: float) -> str:
    """A number of bytes as people read it."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def duration(seconds: float) -> str:
    """A number of seconds as people read it."""
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
    """Where a run reports to; `paused` keeps the screen still while a question is asked."""

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
    # What happens to a log must not stop the run that it tells of.
    with suppress(OSError):
        click.echo(f"{time.strftime('%H:%M:%S')} {summary.spec}: {line}", err=True)


@contextmanager
def progress() -> Iterator[Progress]:
    """Show reports on stderr: a live table if that is a terminal, else one line each."""
    if not sys.stderr.isatty():
        yield Progress(_print)
        return
    with _live() as live:
        yield live


def _shown_path(path: str) -> str:
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def conclusion(summary: Summary, *, is_simulated: bool) -> str:
    """What a person wants to know once a run has ended: outcomes, tokens, and where the outputs are."""
    took = duration(summary.seconds) + (" (simulated)" if is_simulated else "")
    lines = [
        f"{summary.spec}: {plural(summary.rows, 'row')}, {_outcomes(summary)}, in {took}",
        f"  run     {summary.run}",
        f"  tokens  {summary.usage['input_tokens']:,} in, {summary.usage['output_tokens']:,} out",
    ]
    paths = [_shown_path(sink["path"]) for sink in summary.sinks]
    width = max(map(len, paths), default=0)
    for index, (path, sink) in enumerate(zip(paths, summary.sinks, strict=True)):
        lines.append(f"  {'' if index else 'wrote':6}  {path:{width}}  {plural(sink['rows'], 'row')}")
    return "\n".join(lines)


def unfinished(summary: Summary, command: str) -> str:
    """What to say about a run that is not finished, with the command that goes on."""
    return (
        f"{summary.spec}: run {summary.run} is not finished (batches: {_states(summary)}); nothing was canceled\n"
        f"  go on with: {command}"
    )


def unknown(batch: Unknown) -> str:
    """What is known of a batch whose creation got no answer."""
    sent_at = datetime.fromtimestamp(batch.intent_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    lines = [f"{batch.name} ({plural(batch.requests, 'request')}), sent at {sent_at}: not known to be accepted"]
    for remote in batch.candidates:
        created_at = datetime.fromtimestamp(remote.created_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        lines.append(f"  could be {remote.id}, created at {created_at}, {remote.processing_status}")
    if not batch.candidates:
        lines.append("  no batch of the workspace could be it")
    return "\n".join(lines)


def offer(proposal: Offer) -> str:
    """What a run is about to send."""
    what = (
        f"{plural(proposal.requests, 'request')} ({size(proposal.bytes)}) in {plural(proposal.batches, 'batch')}"
    )
    rejected = f"; {plural(proposal.rejected, 'row')} cannot be sent" if proposal.rejected else ""
    return f"run {proposal.run} sends {what} to {proposal.model}{rejected}"


def runs(found: Sequence[Found]) -> "Table":
    """A table of runs."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("run", "spec", "state", "rows", "outcomes", "batches", ""):
        table.add_column(name, justify="right" if name == "rows" else "left")
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
            note,
        )
    return table
