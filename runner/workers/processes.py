"""Do tasks in several processes of this machine."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from threading import Thread
from typing import Any, TypeVar

from runner.errors import RunnerError
from runner.workers.tasks import Done, Stop, Task, Workers, stop_tasks_when

T = TypeVar("T")


@contextmanager
def _start_apart() -> Iterator[None]:
    """Let processes that start meanwhile import nothing from the working folder, and leave Ctrl-C to this one.

    Until it knows the path of this process, Python would take a `random.py` of the user for its own, and show a
    traceback after Ctrl-C.
    """
    name = "PYTHONSAFEPATH"
    earlier, mask = os.environ.get(name), signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    os.environ[name] = "1"
    try:
        yield
    finally:
        if earlier is None:
            del os.environ[name]
        else:
            os.environ[name] = earlier
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextmanager
def open_processes(jobs: int, stop: Stop) -> Iterator[Workers]:
    """Yield `jobs` processes, which start with the first tasks and end with the context.

    Their `submit` and `take` raise RunnerError if one of them has died, and Interrupted if that is after a stop.
    """
    # Not by fork: this process may have threads.
    method = multiprocessing.get_context("spawn")
    with _start_apart():
        ending = method.Event()
    with ProcessPoolExecutor(jobs, method, _start_process, (ending,)) as pool:

        def submit(task: Task, job: bytes, part: Any) -> "Future[Any]":
            with _start_apart():
                return _while_alive(lambda: pool.submit(task, job, part), stop)

        def take(future: "Future[Any]") -> Done:
            return Done(_while_alive(future.result, stop))

        try:
            yield Workers(submit, take, _check_nothing, jobs)
        finally:
            ending.set()
            pool.shutdown(cancel_futures=True)


def _while_alive(call: Callable[[], T], stop: Stop) -> T:
    try:
        return call()
    except BrokenProcessPool as error:
        # Signals often go to a whole group, as those of `timeout` and systemd.
        stop.check()
        raise RunnerError(
            "a process that does a part of the work has ended by itself, perhaps because memory ran out: run the "
            "same command with fewer --jobs"
        ) from error


def _check_nothing() -> None:
    """Check nothing: the result of a process that dies is an error."""


def _start_process(ending: Event) -> None:
    """Prepare this process for tasks. It leaves signals to its parent, and ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    stop_tasks_when(ending.is_set)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGKILL)
