"""What the commands have in common: how they end, what they take, and how they are stopped."""

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
    """Ends every command that fails with its message and exit code; only a defect of ours shows a traceback."""

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
    """What to say of a file that cannot be used; one without a name mostly is the output of the command."""
    if error.filename is not None:
        return StateError(f"{error.filename}: {error.strerror}")
    # What it still holds back would fail once more when the process ends.
    with suppress(OSError, ValueError):
        sys.stdout.close()
    return RunnerError(f"cannot write: {error.strerror or error}")


def _fail(error: RunnerError) -> NoReturn:
    # Where messages cannot be written either, the exit code still tells.
    with suppress(OSError):
        click.echo(str(error) if isinstance(error, InputError) else f"error: {error}", err=True)
    sys.exit(error.exit_code)


def _variables(ctx: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    for name, equals, _ in pairs:
        if not (name and equals):
            raise click.BadParameter(f"{name!r} is not name=value", ctx, option)
    return {name: value for name, _, value in pairs}


VAR = click.option(
    "--var",
    "variables",
    multiple=True,
    callback=_variables,
    metavar="NAME=VALUE",
    help="Override one of the spec's vars.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")


def echo_json(value: Any) -> None:
    import msgspec

    click.echo(msgspec.json.encode(value))


class Stop(Event):
    """Set by the first SIGINT or SIGTERM; a second one ends the process at once."""

    signal: int | None = None

    def __call__(self, number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        self.signal = number
        # Not from here: the main thread may be inside `wait`, which holds the same lock.
        Thread(target=self.set).start()
        click.echo("stopping at the next safe moment; nothing is canceled (once more to stop now)", err=True)


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
        click.echo("warning: ANTHROPIC_LOG=debug prints every request, prompts included", err=True)
