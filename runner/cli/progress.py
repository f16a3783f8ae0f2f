"""Progress of a run on stderr: a live table on a terminal, lines of text or JSON elsewhere.

The table is drawn below what was printed before, and is gone before anything else is printed: it covers nothing.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from runner.cli.echo import is_smart_terminal, print_to_stderr, to_cell
from runner.cli.log import LOG
from runner.cli.texts.summary import format_outcomes, format_states
from runner.pricing.rates import format_dollars
from runner.runs.events import ProgressCallback, RunEvent
from runner.text import format_duration

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

_BAR_WIDTH = 28
# Above the table, for good; the others only change it.
_KEPT_EVENTS = (
    "started",
    "queue",
    "searching",
    "found",
    "rejected",
    "round",
    "deadline",
    "warning",
    "notified",
    "unchanged",
    "finished",
)
_BEFORE_BATCHES = ("reading", "read", "counting")


def _format_money(event: RunEvent) -> str:
    spent, estimated = event.progress.cost["actual"], event.progress.cost["estimated"]
    so_far = "unknown so far" if event.progress.unreadable_usage else f"{format_dollars(spent or 0.0)} so far"
    shown = so_far if estimated is None else f"{so_far}, estimated {format_dollars(estimated)}"
    return f"{shown} (simulated)" if event.progress.is_simulated else shown


def _format_time(event: RunEvent, seconds: float, now: float) -> str:
    took = format_duration(event.progress.seconds + seconds)
    if event.expected_end is None:
        return took
    left = format_duration(max(0.0, event.expected_end - now))
    return f"{took}, about {left} left (until {datetime.fromtimestamp(event.expected_end):%H:%M})"  # noqa: DTZ006


def _build_progress_table(event: RunEvent, next_look: float | None, since: float) -> "Table":
    """Return the table that shows a run after its last event, which was `since` on the monotonic clock."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    progress, now = event.progress, time.time()
    table = Table(
        title=to_cell(f"{progress.spec}: run {progress.run}"), title_justify="left", show_header=False, box=None
    )
    done = sum(progress.outcomes.values())
    table.add_row("batches", format_states(progress))
    table.add_row("rows", f"{done:,} of {progress.rows:,}")
    table.add_row("", ProgressBar(total=progress.rows or 1, completed=done, width=_BAR_WIDTH))
    table.add_row("outcomes", format_outcomes(progress))
    table.add_row("cost", _format_money(event))
    table.add_row("time", _format_time(event, time.monotonic() - since, now))
    if next_look is not None and next_look > now:
        table.add_row("next look", f"in {format_duration(next_look - now)}")
    if event.name != "waiting":
        table.add_row("now", to_cell(event.message))
    return table


@dataclass(frozen=True, slots=True)
class ProgressDisplay:
    """Display that a run reports to; `pause` takes it off the screen while a question is asked."""

    report: ProgressCallback
    pause: Callable[[], AbstractContextManager[None]] = nullcontext


class _LiveTable:
    """A table on the terminal, which the first event shows and each later one updates."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False)
        self._live: Live | None = None
        self._event: RunEvent | None = None
        self._next_look: float | None = None
        self._since = 0.0

    def _render(self) -> Any:
        if self._event is None:
            return ""
        if self._event.name in _BEFORE_BATCHES:
            return to_cell(f"{self._event.progress.spec}: {self._event.message}")
        return _build_progress_table(self._event, self._next_look, self._since)

    def report(self, event: RunEvent) -> None:
        """Show an event."""
        from rich.live import Live

        self._event, self._since = event, time.monotonic()
        self._next_look = event.next_look or self._next_look
        if event.name in _KEPT_EVENTS:
            LOG.write(event)
        if self._live is None:
            # One that was stopped would be drawn over what was printed since.
            self._live = Live(
                get_renderable=self._render, console=self._console, refresh_per_second=5, transient=True,
                redirect_stdout=False, redirect_stderr=False,
            )  # fmt: skip
            self._live.start()
            LOG.print_text = self._print_above

    def _print_above(self, text: str) -> None:
        from rich.text import Text

        self._console.print(Text.from_ansi(text), soft_wrap=True)

    def stop(self) -> None:
        """Take the table off the screen."""
        if self._live is not None:
            LOG.print_text = print_to_stderr
            self._live.stop()
            self._live = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take the table off the screen; the next event brings it back."""
        self.stop()
        yield


@contextmanager
def show_progress() -> Iterator[ProgressDisplay]:
    """Show events on stderr: as a live table if it is a terminal, else as one line each."""
    LOG.last = None
    if LOG.is_quiet or LOG.is_json or not is_smart_terminal(err=True):
        yield ProgressDisplay(_log_event)
        return
    table = _LiveTable()

    def report(event: RunEvent) -> None:
        LOG.remember(event)
        if event.name != "stopped":
            table.report(event)

    try:
        yield ProgressDisplay(report, table.paused)
    finally:
        table.stop()


def _log_event(event: RunEvent) -> None:
    LOG.remember(event)
    if not LOG.is_quiet and event.name != "stopped":
        LOG.write(event)
