"""Do the tasks of a job elsewhere. The order of their results is that of its parts."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar

from runner.errors import Interrupted, RunnerError, UsageError
from runner.workers.processes import open_processes
from runner.workers.tasks import AUTO, Done, Jobs, Stop, Task, Workers, count_processors

_LOOK_SECONDS = 0.2
_MOST_ITEMS, _PART_BYTES = 500, 1 << 20
_TASKS_AHEAD = 2
"""Tasks for each worker that are waiting or done: results are kept until their turn."""

T = TypeVar("T")


def split_work(items: Iterable[T], measure: Callable[[T], int], *, most: int = _MOST_ITEMS) -> Iterator[list[T]]:
    """Split work into parts for tasks: at most `most` items, or a megabyte by `measure`, which returns bytes.

    An error of `items` comes after the part of the items before it.
    """
    part, size = list[T](), 0
    try:
        for item in items:
            part.append(item)
            size += measure(item)
            if len(part) == most or size >= _PART_BYTES:
                yield part
                part, size = [], 0
    except RunnerError:
        if part:
            yield part
        raise
    if part:
        yield part


def open_workers(jobs: Jobs, stop: Stop) -> AbstractContextManager[Workers]:
    """Return the workers of a place, which end with the context. Raises UsageError if there is no such place."""
    if jobs == AUTO:
        jobs = count_processors()
    if isinstance(jobs, int):
        if jobs < 1:
            raise UsageError(f"jobs: {jobs} is no number of processes")
        return open_processes(jobs, stop)
    # It takes long to import.
    from runner.workers.cluster import open_cluster

    return open_cluster(jobs)


def _keep(part: Any) -> Any:
    return part


def _hold_error(parts: Iterable[T], held: list[RunnerError]) -> Iterator[T]:
    """Yield parts, and put the error that ends them into `held`."""
    try:
        yield from parts
    except RunnerError as error:
        held.append(error)


def run_tasks(
    workers: Workers, task: Task, job: bytes, parts: Iterator[T], stop: Stop, *, pick: Callable[[T], Any] = _keep
) -> Generator[tuple[T, Done]]:
    """Yield the parts with what `task` makes of each, in order; a task gets what `pick` takes from its part.

    Tasks that are not needed are canceled. Raises Interrupted as soon as `stop` is set, and RunnerError if tasks
    cannot be done. An error of `parts` comes after the results of the parts before it, as in one process.
    """
    tasks, held = deque[tuple[T, Future[Any]]](), list[RunnerError]()
    ahead = _hold_error(parts, held)
    try:
        while True:
            while len(tasks) < workers.at_a_time * _TASKS_AHEAD and (part := next(ahead, None)) is not None:
                tasks.append((part, workers.submit(task, job, pick(part))))
            if not tasks:
                break
            part, future = tasks[0]
            found = _take(future, workers, stop)
            tasks.popleft()
            yield part, found
        if held:
            raise held[0]
    finally:
        for _, future in tasks:
            future.cancel()


def _take(future: "Future[Any]", workers: Workers, stop: Stop) -> Done:
    stop.check()
    while not wait([future], _LOOK_SECONDS).done:
        stop.check()
        workers.check()
    try:
        return workers.take(future)
    except Interrupted as error:
        raise Interrupted(stop.message) from error


@dataclass(slots=True)
class WorkerPool:
    """Workers of a run that was sent: they start when they are first needed, and again after they were let go."""

    jobs: Jobs
    stop: Stop
    _workers: Workers | None = None
    _opened: ExitStack = field(default_factory=ExitStack)

    def open(self) -> Workers:
        """Return the workers. Raises RunnerError if there are none."""
        if self._workers is None:
            try:
                self._workers = self._opened.enter_context(open_workers(self.jobs, self.stop))
            except UsageError as error:
                # Receivers are not told of misuse, but of a cluster that has ended while batches were processed.
                raise RunnerError(str(error)) from error
        return self._workers

    def close(self) -> None:
        """Let the workers go."""
        self._workers = None
        self._opened.close()
