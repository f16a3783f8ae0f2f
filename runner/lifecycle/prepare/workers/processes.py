"""Render rows in several processes of this machine."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.synchronize import Event
from threading import Thread
from typing import Any

from runner.errors import Interrupted, RunnerError
from runner.lifecycle.prepare.workers.tasks import STOPPED, Encoded, Rows, Workers, encode_rows
from runner.requests.attachments import AttachedFile
from runner.requests.encode import RequestEncoder, make_request_encoder
from runner.spec.spec import Spec
from runner.templates.templates import Templates


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
def open_processes(templates: Templates, jobs: int, should_stop: Callable[[], bool]) -> Iterator[Workers]:
    """Yield `jobs` processes, which end with the context.

    Raises RunnerError if one of them dies, and Interrupted if that is after a stop.
    """
    # Without the rows that were given: they may be many, and a row is sent with its task.
    spec = replace(templates.spec, source=replace(templates.spec.source, given=None))
    # Not by fork: this process may have threads.
    method = multiprocessing.get_context("spawn")
    with _start_apart():
        stop = method.Event()
    with ProcessPoolExecutor(jobs, method, _start_process, (spec, templates.texts, stop)) as pool:

        def submit(rows: Rows) -> "Future[Any]":
            with _start_apart():
                return pool.submit(_encode_rows, rows)

        try:
            yield Workers(submit, Future.result, _check_nothing, jobs)
        except BrokenProcessPool as error:
            # Signals often go to a whole group, as those of `timeout` and systemd.
            if should_stop():
                raise Interrupted(STOPPED) from error
            raise RunnerError(
                "a process that renders rows has ended by itself, perhaps because memory ran out: run the same "
                "command with fewer --jobs"
            ) from error
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def _check_nothing() -> None:
    """Check nothing: the result of a process that dies is an error."""


_encode: RequestEncoder
_variables: Callable[[Mapping[str, Any]], dict[str, Any]]
_should_stop: Callable[[], bool]
_attached: list[AttachedFile] = []


def _start_process(spec: Spec, texts: dict[str, str], stop: Event) -> None:
    """Prepare this process for tasks. It leaves signals to its parent, and ends with it."""
    # A pool has no other place for what its tasks share.
    global _encode, _variables, _should_stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    templates, _should_stop = Templates(spec, texts), stop.is_set
    templates.stop_rendering_when(_should_stop)
    _encode, _variables = make_request_encoder(templates, _attached.append), templates.variables


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGKILL)


def _encode_rows(rows: Rows) -> Encoded:
    return encode_rows(_encode, _variables, _attached, rows, _should_stop)
