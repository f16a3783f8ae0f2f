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

from runner.errors import InputError, Interrupted, RunnerError, StateError

SPEC = click.Path(dir_okay=False, path_type=Path)


class Commands(click.Group):
    """Command group that ends a failed command with a message and exit code; only bugs show a traceback."""

    def main(self, *args: Any, **options: Any) -> Any:
        try:
            return super().main(*args, **options)
        except OSError as error:
            _fail(_unusable(error))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RunnerError as error:
            _fail(error)


def _unusable(error: OSError) -> RunnerError:
    """Return the error for an unusable file; without a file name, it is usually stdout."""
    if error.filename is not None:
        return StateError(f"{error.filename}: {error.strerror}")
    # Otherwise the buffered output would fail again when the process exits.
    with suppress(OSError, ValueError):
        sys.stdout.close()
    return RunnerError(f"cannot write: {error.strerror or error}")


def _fail(error: RunnerError) -> NoReturn:
    # If stderr cannot be written either, the exit code still reports the failure.
    with suppress(OSError):
        click.echo(str(error) if isinstance(error, InputError) else f"error: {error}", err=True)
    sys.exit(error.exit_code)


def _variables(ctx: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    for name, equals, _ in pairs:
        if not (name and equals):
            raise click.BadParameter(f"{name!r} does not have the form NAME=VALUE", ctx, option)
    return {name: value for name, _, value in pairs}


VAR = click.option(
    "--var",
    "variables",
    multiple=True,
    callback=_variables,
    metavar="NAME=VALUE",
    help="Override a variable of the spec; can be repeated.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, one object per line.")


def echo_json(value: Any) -> None:
    import msgspec

    click.echo(msgspec.json.encode(value))


class Stop(Event):
    """Event that the first SIGINT or SIGTERM sets; the same signal again ends the process immediately."""

    signal: int | None = None

    def __call__(self, number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        self.signal = number
        # In another thread: the main thread may be inside `wait`, which holds the same lock.
        Thread(target=self.set).start()
        click.echo("stopping safely; batches are not canceled (press Ctrl-C again to quit immediately)", err=True)


@contextmanager
def stopping() -> Iterator[Stop]:
    stop = Stop()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        yield stop
    except Interrupted as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(128 + (stop.signal or signal.SIGINT))


def warn() -> None:
    if os.environ.get("ANTHROPIC_LOG") == "debug":
        click.echo("warning: ANTHROPIC_LOG=debug prints every request, including its prompt", err=True)
