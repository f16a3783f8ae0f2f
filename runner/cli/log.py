"""The log of a command on stderr: text for people, or one JSON object per line for programs."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from runner.cli.echo import echo, escape_line, format_for_terminal, is_smart_terminal, print_to_stderr

if TYPE_CHECKING:
    from runner.runs.events import RunEvent

_MOVING_EVENTS = ("reading", "counting", "waiting")
"""Events that make no line in a log of text."""


@dataclass(slots=True)
class Log:
    """The log of this process: its format, whether it is quiet, and the last event of the run at hand.

    `print_text` prints a text on stderr; while there is a live table, above it.
    """

    is_json: bool = False
    is_quiet: bool = False
    last: "RunEvent | None" = None
    print_text: Callable[[str], None] = print_to_stderr

    def say(self, message: str, *, event: str, is_wrapped: bool = True, **fields: Any) -> None:
        """Print a message that is no event of the lifecycle: text for people, or its JSON with these fields."""
        # A log that cannot be written must not stop the run.
        with suppress(OSError):
            if self.is_json:
                self._write_json(event, message, fields)
            else:
                self.print_text(format_for_terminal(message, err=True, is_wrapped=is_wrapped))

    def remember(self, event: "RunEvent") -> None:
        """Note the last event of the run; receivers are told of its end after that."""
        if event.name != "notified":
            self.last = event

    def write(self, event: "RunEvent") -> None:
        """Print an event as a line."""
        with suppress(OSError):
            if self.is_json:
                self._write_json(event.name, event.message, {})
            elif event.name not in _MOVING_EVENTS:
                line = escape_line(f"{now_as_text()} {event.progress.spec}: {event.message}")
                self.print_text(format_for_terminal(line, err=True))

    def _write_json(self, name: str, message: str, fields: dict[str, Any]) -> None:
        import msgspec

        line = {"time": _iso(time.time()), "event": name, "message": message, **_run_fields(self.last), **fields}
        echo(msgspec.json.encode(line), err=True)


LOG = Log()
"""The log of this process; the options of a command set it."""


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def now_as_text() -> str:
    """Return the time of a line: with date and zone in a file, where it is read days later."""
    now = datetime.now().astimezone()
    return f"{now:%H:%M:%S}" if is_smart_terminal(err=True) else now.isoformat(timespec="seconds")


def _run_fields(event: "RunEvent | None") -> dict[str, Any]:
    """Return the fields of a line about the run: the same in every line, null if there is no run yet."""
    if event is None:
        names = ("spec", "run", "batch", "round", "rows", "outcomes", "batches", "cost", "estimated_cost")
        return dict.fromkeys((*names, "next_look", "expected_end", "is_simulated"))
    progress = event.progress
    return {
        "spec": progress.spec,
        "run": progress.run,
        "batch": event.batch,
        "round": event.round,
        "rows": progress.rows,
        "outcomes": progress.outcomes,
        "batches": progress.batches,
        "cost": progress.cost["actual"],
        "estimated_cost": progress.cost["estimated"],
        "next_look": _iso(event.next_look),
        "expected_end": _iso(event.expected_end),
        "is_simulated": progress.is_simulated,
    }


def _set_quiet(_: click.Context, __: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click calls it so
    LOG.is_quiet = value


def _set_format(_: click.Context, __: click.Parameter, value: str) -> None:
    LOG.is_json, LOG.last = value == "json", None


def log_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the log to a command."""
    quiet = click.option(
        "-q", "--quiet", is_flag=True, expose_value=False, callback=_set_quiet, is_eager=True,
        help="Print only errors and the summary at the end.",
    )  # fmt: skip
    choice = click.option(
        "--log-format", type=click.Choice(["text", "json"]), default="text", expose_value=False, is_eager=True,
        callback=_set_format, help="Write the log on stderr as text, or as one JSON object per line.",
    )  # fmt: skip
    return quiet(choice(command))
