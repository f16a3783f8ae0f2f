"""The budget of one rendering: its steps, its CPU time and the memory that it takes.

A step is one pass of a loop, or the handling of about 1,000 characters; calls count more. Steps are counted where
a template can repeat something, so that one without loops and calls costs nothing more.
"""

import resource
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from time import monotonic, thread_time
from typing import Any, NoReturn

from jinja2.exceptions import SecurityError

from runner.errors import Interrupted

MAX_STEPS = 2_000_000
"""Maximum number of steps of one rendering."""


MAX_SECONDS = 10
"""Maximum CPU time of one rendering."""


MAX_MEMORY = 512_000_000
"""Maximum number of bytes by which one rendering may enlarge the process."""


_STEPS_BETWEEN_LOOKS = 20_000


_SECONDS_BETWEEN_LOOKS = 0.1


_LONG_LOOP = 1_000


_NEW = -(10**30)
"""The steps that are left before the first step of a rendering."""


_CHUNK = 64


CHARS_PER_STEP = 1_000


STEPS_PER_CALL, STEPS_PER_INCLUDE = 10, 40


_SHORT_TEXT = 10_000


class RenderLimitExceeded(SecurityError):
    """An error: a rendering takes too many steps, too much time or too much memory."""


class Budget:
    """The steps, time and memory that one rendering has used so far.

    `should_stop` is asked about ten times a second; if it returns True, the rendering ends with Interrupted.
    """

    def __init__(self) -> None:
        self.should_stop: Callable[[], bool] = bool
        self._spent, self._next_look, self._cpu, self._memory = 0, 0.0, 0.0, 0
        self.start()

    def start(self) -> None:
        """Begin another rendering. Its clock and memory are read later, at its first step."""
        self.left = _NEW

    def spend(self, steps: int) -> None:
        """Count steps. Raises RenderLimitExceeded, and Interrupted after a stop."""
        self.left -= steps
        if self.left < 0 or monotonic() > self._next_look:
            self._look(steps)

    def spend_on_text(self, length: int) -> None:
        """Count the steps for handling a text of this length. Raises RenderLimitExceeded."""
        if length > _SHORT_TEXT:
            self.spend(length // CHARS_PER_STEP)

    def _look(self, steps: int) -> None:
        if self.left < _NEW // 2:
            self._spent, self._memory = 0, 0
            self.left, self._next_look = _STEPS_BETWEEN_LOOKS - steps, monotonic() + _SECONDS_BETWEEN_LOOKS
            if self.left >= 0:
                return
        self._spent += _STEPS_BETWEEN_LOOKS - self.left
        self.left, self._next_look = _STEPS_BETWEEN_LOOKS, monotonic() + _SECONDS_BETWEEN_LOOKS
        if self.should_stop():
            raise Interrupted("stopped before anything of the new run was sent")
        if self._spent > MAX_STEPS:
            _refuse(f"{MAX_STEPS:,} steps")
        if not self._memory:
            # Reading both takes longer than most renderings do.
            self._memory, self._cpu = _resident_bytes(), thread_time()
        elif thread_time() - self._cpu > MAX_SECONDS:
            _refuse(f"{MAX_SECONDS} seconds")
        elif _resident_bytes() - self._memory > MAX_MEMORY:
            _refuse(f"{MAX_MEMORY:,} bytes of memory")

    def watch_loop(self, values: Any) -> Any:
        """Return the values of a loop, and count them. Raises RenderLimitExceeded, now or while they are read.

        Values without a length come from a filter, which has counted the values that it was given.
        """
        if not hasattr(values, "__len__"):
            return values
        length = len(values)
        if length > _LONG_LOOP:
            return chain.from_iterable(self._read_in_chunks(values))
        self.left -= length
        if self.left < 0 or monotonic() > self._next_look:
            self._look(length)
        return values

    def _read_in_chunks(self, values: Any) -> Iterator[Iterable[Any]]:
        iterator = iter(values)
        while chunk := tuple(islice(iterator, _CHUNK)):
            self.spend(len(chunk))
            yield chunk


def _refuse(limit: str) -> NoReturn:
    message = f"the template takes more than {limit} for one row: shorten its loops, or the texts that it makes"
    raise RenderLimitExceeded(message)


def _resident_bytes() -> int:
    """Return the memory of this process: now on Linux, at its highest so far elsewhere."""
    try:
        with Path("/proc/self/statm").open("rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
