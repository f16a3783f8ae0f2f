"""SIGINT and SIGTERM: the first one stops a command at the next safe moment, the second one ends it at once."""

import os
import shlex
import shutil
import signal
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from types import FrameType
from typing import Any

import click

from runner.cli.echo import echo
from runner.cli.log import LOG
from runner.errors import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SHOW_CURSOR = b"\x1b[?25h"


class StopEvent(Event):
    """Event that the first SIGINT or SIGTERM sets; the same signal again ends the process immediately."""

    signal: int | None = None

    def __call__(self, number: int, _: FrameType | None) -> None:
        """Set the event, and give the signal its usual effect again."""
        signal.signal(number, signal.SIG_DFL)
        self.signal = number
        # In another thread: the main thread may hold the locks of the event and of stderr.
        Thread(target=self._announce).start()

    def _announce(self) -> None:
        self.set()
        with suppress(OSError):
            if sys.stderr.isatty():
                os.write(2, _SHOW_CURSOR)  # the second signal leaves no time for it
            line = "stopping safely; batches are not canceled (press Ctrl-C again to quit immediately)"
            LOG.say(line, event="stopping")

    def _interrupt(self, number: int, _: FrameType | None) -> None:
        self.signal = number
        raise KeyboardInterrupt

    @contextmanager
    def end_question(self, effect: str) -> Iterator[None]:
        """While a question is asked, end it at a signal: Interrupted is raised, which says the `effect`."""
        before = {number: signal.signal(number, self._interrupt) for number in _SIGNALS}
        try:
            if self.signal is not None:  # it came while the plan was printed
                raise KeyboardInterrupt
            yield
        except (click.Abort, KeyboardInterrupt) as error:
            echo(err=True)  # the terminal shows ^C in the line of the question
            self.signal = self.signal or signal.SIGINT
            raise Interrupted(f"stopped at the question: {effect}") from error
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def handle_stop_signals() -> Iterator[StopEvent]:
    """Yield an event that SIGINT and SIGTERM set; an interrupted run then ends with the code of its signal."""
    stop = StopEvent()
    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield stop
    except Interrupted as error:
        code, command = 128 + (stop.signal or signal.SIGINT), command_line()
        say_next_command(f"{error}", "start again with", command, exit_code=code)
        sys.exit(code)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def say_next_command(message: str, label: str, command: str, *, event: str = "stopped", **fields: Any) -> None:
    """Print a message with the command that goes on, which is not wrapped: it is there to be copied."""
    if LOG.is_json:
        LOG.say(message, event=event, command=command, **fields)
    else:
        LOG.say(message, event=event, **fields)
        LOG.say(f"  {label}: {command}", event=event, is_wrapped=False, **fields)


def command_line(without: Collection[str] = ()) -> str:
    """Return the command that was called, as it can be typed again, `without` these words."""
    words = [word for word in sys.argv[1:] if word not in without]
    return shlex.join([*program_words(), *words])


def program_words() -> list[str]:
    """Return the words that call this program again: short ones, if the shell finds the same program by them."""
    called, on_path = Path(sys.argv[0]), shutil.which("runner")
    if called.name == "__main__.py":
        is_python = shutil.which("python") == sys.executable
        return ["python" if is_python else sys.executable, "-m", "runner"]
    is_same = on_path is not None and Path(on_path).absolute() == called.absolute()
    return ["runner"] if is_same else [str(called)]
