"""Commands on a real pseudo-terminal, and what a person sees there: the screen and all that scrolled off it."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from signal import SIGINT
from threading import Lock, Thread
from types import TracebackType
from typing import Any, Self

import pyte

from tests.support.processes import nothing, start

CTRL_C = "\x03"
_SECONDS = 600.0


def _use_terminal(name: str, before: Callable[[], None]) -> None:
    """Make a terminal the one that controls this process, and its stdin, stdout and stderr."""
    os.setsid()
    number = os.open(name, os.O_RDWR)
    for target in range(3):
        os.dup2(number, target)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as the process lives
    before()


class _Program(subprocess.Popen[bytes]):
    """A program that any file is, with the words of a process of `multiprocessing`."""

    @property
    def exitcode(self) -> int | None:
        """The exit code, negative after a signal; None while the program runs."""
        return self.poll()

    def join(self, seconds: float) -> None:
        """Wait for the end, at most so long."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(seconds)


class Terminal:
    """A terminal of some size, in which one command runs at a time."""

    def __init__(self, root: Path, environ: Mapping[str, str], *, columns: int = 80, rows: int = 24) -> None:
        self.root, self.environ = root, {"TERM": "xterm-256color", **environ}
        self.environ.pop("COLUMNS", None)
        self.screen = pyte.HistoryScreen(columns, rows, history=10_000, ratio=0.5)
        self._stream, self.raw = pyte.ByteStream(self.screen), b""
        self._own, self._other = pty.openpty()
        fcntl.ioctl(self._other, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._process: Any = None
        self._reading = Lock()
        Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.exitcode is None:
            self._process.kill()
            self._process.join(_SECONDS)
        os.close(self._other)

    def _read(self) -> None:
        while True:
            try:
                block = os.read(self._own, 1 << 16)
            except OSError:
                return
            if not block:
                return
            with self._reading:
                self.raw += block
                self._stream.feed(block)

    def start(self, *words: str, before: Callable[[], None] = nothing) -> None:
        """Start a command, as if it were typed here."""
        name = os.ttyname(self._other)
        self._process = start(self.root, self.environ, *words, before=partial(_use_terminal, name, before))

    def start_program(self, *words: str) -> None:
        """Start a program of its own, with this terminal as the one that controls it."""
        before = partial(_use_terminal, os.ttyname(self._other), nothing)
        self._process = _Program(words, cwd=self.root, env=self.environ, preexec_fn=before)

    def run_program(self, *words: str) -> int:
        """Run a program to its end, and return its exit code."""
        self.start_program(*words)
        return self.end()

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._own, text.encode())

    def signal(self, number: int) -> None:
        """Send a signal to the command; Ctrl-C is typed, so that the terminal sends it."""
        if number == SIGINT:
            self.type(CTRL_C)
        else:
            os.kill(self._process.pid, number)

    def wait_for(self, text: str) -> None:
        """Wait until a text is seen, wrapped or not."""
        until = time.monotonic() + _SECONDS
        while " ".join(text.split()) not in self.words():
            assert time.monotonic() < until, f"{text!r} is not seen in:\n{self.text()}"
            time.sleep(0.01)

    def end(self) -> int:
        """Wait for the command to end, and return its exit code: negative if a signal ended it."""
        self._process.join(_SECONDS)
        assert self._process.exitcode is not None, f"the command hangs:\n{self.text()}"
        self._read_rest()
        return int(self._process.exitcode)

    def _read_rest(self) -> None:
        mark = f"\x1b]0;{len(self.raw)}\x07".encode()  # a title is not seen
        os.write(self._other, mark)
        while mark not in self.raw:
            time.sleep(0.005)

    def lines(self) -> list[str]:
        """All lines, those that scrolled off first, without blanks at the end."""
        width = self.screen.columns
        with self._reading:
            above = ["".join(line[column].data for column in range(width)) for line in self.screen.history.top]
            return [line.rstrip() for line in (*above, *self.screen.display)]

    def text(self) -> str:
        """All that is seen, as lines."""
        return "\n".join(self.lines()).rstrip("\n")

    def words(self) -> str:
        """All that is seen, as one line, so that it does not matter where lines were wrapped."""
        return " ".join(self.text().split())
