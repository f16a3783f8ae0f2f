"""Shared options, exit handling and signal handling of the commands."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from types import FrameType
from typing import Any, NoReturn

import click

from runner.cli.echo import echo
from runner.errors import InputError, Interrupted, RunnerError, StateError

SPEC_PATH = click.Path(dir_okay=False, path_type=Path)
SPEC_PATHS = click.Path()
"""Several specs: paths, folders and globs."""


class RunnerGroup(click.Group):
    """Command group that ends a failed command with a message and exit code; only bugs show a traceback."""

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command as a program, and report an error of a file that no command expected."""
        try:
            return super().main(*args, **options)
        except OSError as error:
            _exit_with_error(_file_error(error))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the chosen command, and report its error."""
        try:
            return super().invoke(ctx)
        except RunnerError as error:
            _exit_with_error(error)


def _file_error(error: OSError) -> RunnerError:
    """Return the error for an unusable file; without a file name, it is usually stdout."""
    if error.filename is not None:
        return StateError(f"{error.filename}: {error.strerror}")
    # Otherwise the buffered output would fail again when the process exits.
    with suppress(OSError, ValueError):
        sys.stdout.close()
    return RunnerError(f"cannot write: {error.strerror or error}")


def _exit_with_error(error: RunnerError) -> NoReturn:
    # If stderr cannot be written either, the exit code still reports the failure.
    with suppress(OSError):
        echo(str(error) if isinstance(error, InputError) else f"error: {error}", err=True)
    sys.exit(error.exit_code)


def _parse_variables(ctx: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    for name, equals, _ in pairs:
        if not (name and equals):
            raise click.BadParameter(f"{name!r} does not have the form NAME=VALUE", ctx, option)
    return {name: value for name, _, value in pairs}


VAR_OPTION = click.option(
    "--var",
    "variables",
    multiple=True,
    callback=_parse_variables,
    metavar="NAME=VALUE",
    help="Override a variable of the spec; can be repeated.",
)
SELECT_OPTION = click.option(
    "--select",
    multiple=True,
    metavar="CONDITION",
    help="Only specs with tag:NAME, state:failed, state:unfinished or state:new; a comma joins conditions.",
)
JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object per line.")


_OLD_NAMES = {
    "reasons": "because",
    "mode_reason": "why",
    "cheapest_reason": "cheapest_why",
    "duration": "outlook",
    "unfinished_run": "under_way",
    "estimated_cost": "estimated",
    "output_tokens.max": "output_tokens.worst",
    "cost.max": "cost.worst",
    "cost.at_sync_price": "cost.synchronous",
    "batches.ignored_lines": "batches.odd",
    "batches.mode": "batches.lane",
}
"""Names in JSON output with the names that version 0.1 had for them, which are printed too until version 0.3."""


def _add_old_names(value: Any, path: str = "") -> None:
    for item in value if isinstance(value, list) else []:
        _add_old_names(item, path)
    for name, inner in list(value.items()) if isinstance(value, dict) else []:
        _add_old_names(inner, f"{path}{name}.")
        if (old := _OLD_NAMES.get(f"{path}{name}")) is not None:
            value[old.rpartition(".")[2]] = inner


def echo_json(value: Any) -> None:
    """Print a value as one JSON object, under today's names and those of the version before."""
    import msgspec

    shown = msgspec.to_builtins(value)
    _add_old_names(shown)
    echo(msgspec.json.encode(shown))


class StopEvent(Event):
    """Event that the first SIGINT or SIGTERM sets; the same signal again ends the process immediately."""

    signal: int | None = None

    def __call__(self, number: int, _: FrameType | None) -> None:
        """Set the event, and give the signal its usual effect again."""
        signal.signal(number, signal.SIG_DFL)
        self.signal = number
        # In another thread: the main thread may be inside `wait`, which holds the same lock.
        Thread(target=self.set).start()
        echo("stopping safely; batches are not canceled (press Ctrl-C again to quit immediately)", err=True)


@contextmanager
def handle_stop_signals() -> Iterator[StopEvent]:
    """Yield an event that SIGINT and SIGTERM set; an interrupted run then ends with the code of its signal."""
    stop = StopEvent()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        yield stop
    except Interrupted as error:
        echo(f"error: {error}", err=True)
        sys.exit(128 + (stop.signal or signal.SIGINT))


def warn_of_debug_log() -> None:
    """Warn on stderr if the SDK is set to log prompts."""
    if os.environ.get("ANTHROPIC_LOG") == "debug":
        echo("warning: ANTHROPIC_LOG=debug prints every request, including its prompt", err=True)
