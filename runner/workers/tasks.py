"""A task, which depends on its arguments alone, and the workers that tasks are submitted to."""

import os
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, NamedTuple

from runner.errors import Interrupted

Jobs = int | str | Executor
"""The place where tasks are done: a number of processes, `auto`, the URL of a cluster, or an Executor."""

AUTO = "auto"
"""One process for each processor, if there are many rows."""

AUTO_ROWS = 300_000
"""With fewer rows, the processes of `AUTO` would take longer to start than they save."""

Task = Callable[[bytes, Any], Any]
"""A function at the top of a module, called with what its job needs, pickled, and with one part of the work.

It can run again elsewhere, if its worker dies.
"""


class Stop(NamedTuple):
    """Tells if the user wants to stop, and the message of the Interrupted that is then raised."""

    is_set: Callable[[], bool]
    message: str

    def check(self) -> None:
        """Raise Interrupted if the user wants to stop."""
        if self.is_set():
            raise Interrupted(self.message)


class Done(NamedTuple):
    """The result of a task, and the machine that did it, if that may be another one."""

    result: Any
    worker: str | None = None


class Workers(NamedTuple):
    """Functions that submit a task and take its result, and how many of them run at a time.

    `take` raises RunnerError if the task could not run. `check` does so if the result may never come.
    """

    submit: Callable[[Task, bytes, Any], "Future[Any]"]
    take: Callable[["Future[Any]"], Done]
    check: Callable[[], None]
    at_a_time: int


def choose_jobs(jobs: Jobs, rows: int) -> Jobs:
    """Return what `auto` means for so many rows; another value is returned as it is."""
    if jobs != AUTO:
        return jobs
    return count_processors() if rows >= AUTO_ROWS else 1


def count_processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_is_stopped: Callable[[], bool] = bool


def is_stopped() -> bool:
    """Return whether nobody wants the result of the task any more that this process does."""
    return _is_stopped()


def stop_tasks_when(is_set: Callable[[], bool]) -> None:
    """Let `is_stopped` call this function."""
    # A task has no other way to learn it than its process.
    global _is_stopped  # noqa: PLW0603
    _is_stopped = is_set
