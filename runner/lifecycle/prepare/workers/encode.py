"""Render rows elsewhere. Workers get rows and return requests; the order stays that of the rows.

A worker knows the spec and its templates, but not the state, and no key.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, closing
from itertools import islice
from typing import Any

from runner.errors import InputError, Interrupted, Problem, RunnerError, UsageError
from runner.lifecycle.prepare.workers.processes import open_processes
from runner.lifecycle.prepare.workers.tasks import STOPPED, Encoded, Jobs, Workers
from runner.requests.attachments import AttachedFile
from runner.requests.encode import EncodedRequest
from runner.sources.read import Row
from runner.templates.templates import Templates

_ROWS_PER_TASK = 200
_LOOK_SECONDS = 0.2
_TASKS_AHEAD = 2
"""Tasks for each worker that are waiting or done: results are kept until their turn."""


EncodeHere = Callable[[Mapping[str, Any]], EncodedRequest]
"""Encodes the request of one row in this process."""


def encode_elsewhere(
    templates: Templates,
    rows: Iterator[Row],
    encode_here: EncodeHere,
    on_attach: Callable[[AttachedFile], None],
    *,
    jobs: Jobs,
    should_stop: Callable[[], bool],
) -> Iterator[tuple[Row, EncodedRequest | tuple[Problem, ...]]]:
    """Yield each row with its request, or with the problems that end the rows.

    `on_attach` is called for the files that requests attach, and by `encode_here`. That judges again what another
    machine rejects. Raises RunnerError if rows cannot be rendered, and Interrupted as soon as `should_stop`
    returns True.
    """
    with (
        _open_workers(templates, jobs, should_stop) as workers,
        closing(_run_tasks(templates, rows, workers, should_stop)) as results,
    ):
        for chunk, found in results:
            for row, (request, attached) in zip(chunk, found.requests, strict=not found.problems):
                if found.worker is not None and request.problem is not None:
                    yield row, _judge_again(row, request.problem, found.worker, encode_here)
                    continue
                for file in attached:
                    on_attach(file)
                yield row, request
            if found.problems:
                row, judged = chunk[len(found.requests)], found.problems
                if found.worker is not None:
                    judged = _judge_mistake_again(row, judged[0].message, found.worker, encode_here)
                yield row, judged
                return


def _open_workers(
    templates: Templates, jobs: Jobs, should_stop: Callable[[], bool]
) -> AbstractContextManager[Workers]:
    if isinstance(jobs, int):
        if jobs < 1:
            raise UsageError(f"jobs: {jobs} is no number of processes")
        return open_processes(templates, jobs, should_stop)
    # It takes long to import.
    from runner.lifecycle.prepare.workers.cluster import open_cluster

    return open_cluster(templates, jobs)


def _run_tasks(
    templates: Templates, rows: Iterator[Row], workers: Workers, should_stop: Callable[[], bool]
) -> Generator[tuple[list[Row], Encoded]]:
    """Yield the rows of each task with its result, in order. Tasks that are not needed are canceled."""
    has_files = any(block.type != "text" for block in templates.spec.prompt.blocks())
    # A request with files can have many megabytes.
    size = 1 if has_files else _ROWS_PER_TASK
    tasks = deque[tuple[list[Row], Future[Any]]]()
    try:
        while True:
            while len(tasks) < workers.at_a_time * _TASKS_AHEAD and (chunk := list(islice(rows, size))):
                tasks.append((chunk, workers.submit([row.fields for row in chunk])))
            if not tasks:
                return
            chunk, future = tasks[0]
            _wait_for(future, workers, should_stop)
            found = workers.take(future)
            tasks.popleft()
            yield chunk, found
    finally:
        for _, future in tasks:
            future.cancel()


def _wait_for(future: "Future[Any]", workers: Workers, should_stop: Callable[[], bool]) -> None:
    while not wait([future], _LOOK_SECONDS).done:
        if should_stop():
            raise Interrupted(STOPPED)
        workers.check()


def _judge_again(
    row: Row, problem: str, worker: str, encode_here: EncodeHere
) -> EncodedRequest | tuple[Problem, ...]:
    """Render here what another machine rejects, so that what only it cannot read rejects no row.

    Raises RunnerError if the row is right here.
    """
    try:
        request = encode_here(row.fields)
    except InputError as error:
        return error.problems
    if request.problem is None:
        raise _make_worker_error(worker, problem)
    return request


def _judge_mistake_again(row: Row, problem: str, worker: str, encode_here: EncodeHere) -> tuple[Problem, ...]:
    """Return the mistakes of a row that ends the rows. Raises RunnerError if it does not end them here."""
    judged = _judge_again(row, problem, worker, encode_here)
    if isinstance(judged, EncodedRequest):
        raise _make_worker_error(worker, problem)
    return judged


def _make_worker_error(worker: str, problem: str) -> RunnerError:
    return RunnerError(
        f"the worker {worker} cannot do what works here: {problem}: make the files that rows attach readable on"
        " all workers, at the same paths, and install the same packages there"
    )
