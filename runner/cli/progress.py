"""Progress of a run on stderr: a live table on a terminal, plain lines in a pipe."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from runner.cli.echo import echo, escape_line, to_cell
from runner.cli.texts.numbers import format_duration
from runner.cli.texts.summary import format_outcomes, format_states
from runner.runs.context import ProgressCallback
from runner.runs.summary import Summary

if TYPE_CHECKING:
    from rich.table import Table


_BAR_WIDTH = 28


def _build_progress_table(summary: Summary, line: str, began: float) -> "Table":
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    table = Table(
        title=to_cell(f"{summary.spec}  run {summary.run}"), title_justify="left", show_header=False, box=None
    )
    done = sum(summary.outcomes.values())
    table.add_row("batches", format_states(summary))
    table.add_row("rows", f"{done:,} of {summary.rows:,}")
    table.add_row("", ProgressBar(total=summary.rows or 1, completed=done, width=_BAR_WIDTH))
    table.add_row("outcomes", format_outcomes(summary))
    table.add_row("elapsed", format_duration(summary.seconds + time.monotonic() - began))
    table.add_row("now", to_cell(line))
    return table


@dataclass(frozen=True, slots=True)
class ProgressDisplay:
    """Display that a run reports to; `pause` stops its refresh while a question is asked."""

    report: ProgressCallback
    pause: Callable[[], AbstractContextManager[None]] = nullcontext


@contextmanager
def _show_live() -> Iterator[ProgressDisplay]:
    from rich.console import Console
    from rich.live import Live

    shown: dict[str, Any] = {}

    def render() -> Any:
        return _build_progress_table(shown["summary"], shown["line"], shown["at"]) if shown else "starting"

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
        yield ProgressDisplay(report, paused)


def _print_line(line: str, summary: Summary) -> None:
    # A log that cannot be written must not stop the run.
    with suppress(OSError):
        echo(escape_line(f"{time.strftime('%H:%M:%S')} {summary.spec}: {line}"), err=True)


@contextmanager
def show_progress() -> Iterator[ProgressDisplay]:
    """Show reports on stderr: as a live table if it is a terminal, else as one line each."""
    if not sys.stderr.isatty():
        yield ProgressDisplay(_print_line)
        return
    with _show_live() as live:
        yield live
