"""Render rows in several processes. They get rows and return requests; the order stays that of the rows.

A process knows the spec and its templates, but not the state, and no key.
"""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from multiprocessing.synchronize import Event
from threading import Thread
from typing import Any, NamedTuple

from runner.errors import InputError, Interrupted, Problem, RunnerError
from runner.requests.attachments import AttachedFile
from runner.requests.encode import EncodedRequest, RequestEncoder, make_request_encoder
from runner.sources.read import Row
from runner.spec.spec import Spec
from runner.templates.templates import Templates

_ROWS_PER_TASK = 200
_LOOK_SECONDS = 0.2
_STOPPED = "stopped before anything of the new run was sent"
_TASKS_AHEAD = 2
"""Tasks for each process that are waiting or done: results are kept until their turn."""


class _Encoded(NamedTuple):
    """The requests of the rows of a task, with the files that each attaches.

    `problems` are those of the row after them, which ends the rows.
    """

    requests: list[tuple[EncodedRequest, list[AttachedFile]]]
    problems: tuple[Problem, ...] = ()


def encode_in_processes(
    templates: Templates,
    rows: Iterator[Row],
    on_attach: Callable[[AttachedFile], None],
    *,
    jobs: int,
    should_stop: Callable[[], bool],
) -> Iterator[tuple[Row, EncodedRequest | tuple[Problem, ...]]]:
    """Yield each row with its request, or with the problems that end the rows.

    `on_attach` is called once for each file that requests attach. Raises RunnerError if a process dies, and
    Interrupted as soon as `should_stop` returns True.
    """
    has_files = any(block.type != "text" for block in templates.spec.prompt.blocks())
    # A request with files can have many megabytes.
    size = 1 if has_files else _ROWS_PER_TASK
    tasks, reported = deque[tuple[list[Row], Future[_Encoded]]](), set[AttachedFile]()
    with _open_pool(templates, jobs, should_stop) as pool:
        while True:
            while len(tasks) < jobs * _TASKS_AHEAD and (chunk := list(islice(rows, size))):
                with _start_apart():
                    tasks.append((chunk, pool.submit(_encode_rows, [row.fields for row in chunk])))
            if not tasks:
                return
            chunk, future = tasks.popleft()
            found = _wait_for(future, should_stop)
            for row, (request, attached) in zip(chunk, found.requests, strict=False):
                for file in attached:
                    if file not in reported:
                        reported.add(file)
                        on_attach(file)
                yield row, request
            if found.problems:
                yield chunk[len(found.requests)], found.problems
                return


def _wait_for(future: "Future[_Encoded]", should_stop: Callable[[], bool]) -> _Encoded:
    while not wait([future], _LOOK_SECONDS).done:
        if should_stop():
            raise Interrupted(_STOPPED)
    return future.result()


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
def _open_pool(templates: Templates, jobs: int, should_stop: Callable[[], bool]) -> Iterator[ProcessPoolExecutor]:
    # Without the rows that were given: they may be many, and a row is sent with its task.
    spec = replace(templates.spec, source=replace(templates.spec.source, given=None))
    # Not by fork: this process may have threads.
    method = multiprocessing.get_context("spawn")
    with _start_apart():
        stop = method.Event()
    with ProcessPoolExecutor(jobs, method, _start_process, (spec, templates.texts, stop)) as pool:
        try:
            yield pool
        except BrokenProcessPool as error:
            # Signals often go to a whole group, as those of `timeout` and systemd.
            if should_stop():
                raise Interrupted(_STOPPED) from error
            raise RunnerError(
                "a process that renders rows has ended by itself, perhaps because memory ran out: run the same "
                "command with fewer --jobs"
            ) from error
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


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


def _encode_rows(rows: Sequence[Mapping[str, Any]]) -> _Encoded:
    found = list[tuple[EncodedRequest, list[AttachedFile]]]()
    for fields in rows:
        if _should_stop():
            break
        _attached.clear()
        try:
            request = _encode(_variables(fields))
        except InputError as error:
            return _Encoded(found, error.problems)
        found.append((request, list(_attached)))
    return _Encoded(found)
