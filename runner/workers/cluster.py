"""Do tasks on other machines: the workers of a Dask cluster, or any `concurrent.futures.Executor`.

One whose worker dies runs again elsewhere.
"""

import hashlib
import logging
import math
import multiprocessing
import platform
import socket
import warnings
from asyncio import run_coroutine_threadsafe
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Executor, Future
from contextlib import contextmanager
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.pool import ThreadPool
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any, NamedTuple, cast

from runner.errors import Interrupted, RunnerError, UsageError
from runner.files.extras import missing_package_message
from runner.workers.tasks import Done, Task, Workers, stop_tasks_when

SCHEME = "dask://"


_CONNECT_SECONDS, _CHECK_SECONDS, _ALONE_SECONDS = 5, 2, 30


_DEFAULT_WORKERS = 4


_PACKAGES = ("jinja2", "jsonschema", "markupsafe", "msgspec", "pillow", "pillow-heif", "pypdfium2")
"""Packages whose version can change a byte of a request, or the outcome of a row."""


class Mismatch(NamedTuple):
    """A worker whose versions differ from those here."""

    worker: str
    versions: dict[str, str]


@cache
def find_versions() -> dict[str, str]:
    """Return the versions of what can change a byte of a result. That of the runner is a digest of its code."""
    package = Path(__file__).parents[1]
    code = hashlib.sha256()
    for path in sorted([*package.rglob("*.py"), package / "pricing/models.yaml"]):
        code.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    versions = {"Python": ".".join(platform.python_version_tuple()[:2]), "runner": code.hexdigest()[:12]}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "none"
    return versions


_one_at_a_time = Lock()
"""Limits of time and memory are those of one rendering in a process, and tasks keep what their job needs."""


def do_task(versions: dict[str, str], task: Task, job: bytes, part: Any) -> Done | Mismatch:
    """Do a task on a worker, if its versions are these."""
    worker, own = socket.gethostname(), find_versions()
    if own != versions:
        return Mismatch(worker, own)
    is_set = _find_stop()
    with _one_at_a_time:
        stop_tasks_when(is_set)
        return Done(task(job, part), worker)


def _find_stop() -> Callable[[], bool]:
    """Return the function that tells if the task of this thread was canceled. Only Dask lets it know."""
    try:
        from distributed import get_worker

        worker = get_worker()
    except (ImportError, ValueError):
        return bool
    tasks, key = worker.state.tasks, worker.get_current_task()
    return lambda: (task := tasks.get(key)) is None or task.state == "cancelled"


@contextmanager
def open_cluster(jobs: str | Executor) -> Iterator[Workers]:
    """Yield the workers of a cluster or an Executor. Raises UsageError without a cluster."""
    do = partial(do_task, find_versions())
    if isinstance(jobs, Executor):
        count = getattr(jobs, "_max_workers", _DEFAULT_WORKERS)
        yield Workers(partial(_submit_to, jobs, do), take_result, lambda: None, count)
        return
    if not jobs.startswith(SCHEME):
        raise UsageError(f"jobs: {jobs!r} is neither a number of processes nor dask://HOST:PORT")
    with _connect(jobs) as client:
        executor: Executor = client.get_executor(pure=False)
        if (count := len(client.nthreads())) == 0:
            place = jobs.removeprefix(SCHEME)
            raise UsageError(f"--jobs {jobs}: it has no workers: start some with `dask worker {place}`")

        def submit(task: Task, job: bytes, part: Any) -> "Future[Any]":
            with warnings.catch_warnings():
                # It is meant for tables; rows are sent once, as they are needed.
                warnings.filterwarnings("ignore", "Sending large graph")
                return executor.submit(do, task, job, part)

        try:
            yield Workers(submit, take_result, _Watch(client).check, count)
        finally:
            # It cancels the tasks that still run.
            executor.shutdown(wait=False)


def _submit_to(executor: Executor, *call: Any) -> "Future[Any]":
    """Submit a call. Raises RunnerError if the Executor is closed or broken."""
    try:
        return executor.submit(*call)
    except RuntimeError as error:
        raise RunnerError(
            f"the Executor takes no more tasks: {error}: run again with another one; nothing is sent twice"
        ) from error


@contextmanager
def _connect(address: str) -> Iterator[Any]:
    """Yield a client of a Dask scheduler. Raises UsageError if none answers."""
    if (missing := missing_package_message("dask")) is not None:
        raise UsageError(f"--jobs {address}: {missing}")
    import distributed

    place, make_client = address.removeprefix(SCHEME), cast("Any", distributed.Client)
    connect = partial(make_client, place, timeout=_CONNECT_SECONDS, set_as_default=False)
    with _quiet_logs("distributed", "distributed.client"):
        try:
            client = _call_within(2 * _CONNECT_SECONDS, connect)
        except (OSError, ValueError, OverflowError) as error:
            raise UsageError(
                f"--jobs {address}: no Dask scheduler answers at {place}: start one with `dask scheduler`, or"
                " correct the address"
            ) from error
        try:
            yield client
        finally:
            client.close(timeout=_CONNECT_SECONDS)


def _call_within(seconds: float, function: Callable[[], Any]) -> Any:
    """Return what a function returns. Raises TimeoutError: other servers accept and say nothing."""
    # Unlike those of an executor, its thread does not keep the process from ending.
    pool = ThreadPool(1)
    try:
        return pool.apply_async(function).get(seconds)
    except multiprocessing.TimeoutError as error:
        raise TimeoutError from error


@contextmanager
def _quiet_logs(*names: str) -> Iterator[None]:
    """Log nothing meanwhile: what goes wrong is an error."""
    levels = {logger: logger.level for logger in map(logging.getLogger, names)}
    for logger in levels:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


class _Watch:
    """Looks now and then if a cluster still has workers, without waiting for its answer."""

    def __init__(self, client: Any) -> None:
        self._client, self._asked, self._alone_since = client, monotonic(), math.inf
        self._answer: Future[Mapping[str, int]] | None = None

    def check(self) -> None:
        """Raise RunnerError if there was no worker for half a minute: tasks would wait forever."""
        now = monotonic()
        if now - self._asked < _CHECK_SECONDS or not (self._answer is None or self._answer.done()):
            return
        if self._answer is not None:
            has_workers = self._answer.exception() is None and bool(self._answer.result())
            self._alone_since = math.inf if has_workers else min(self._alone_since, now)
        if now - self._alone_since > _ALONE_SECONDS:
            raise RunnerError(
                f"the cluster has had no worker for {_ALONE_SECONDS} seconds: start some, and run the same command"
                " again"
            )
        asked = self._client.scheduler.ncores()
        self._asked, self._answer = now, run_coroutine_threadsafe(asked, self._client.loop.asyncio_loop)


def take_result(future: "Future[Any]") -> Done:
    """Return what a task has made. Raises RunnerError if it could not run."""
    try:
        failure = future.exception()
    except CancelledError as error:
        raise RunnerError(
            "the cluster has dropped a task, as when its scheduler ends: see if it runs, and run the same command"
            " again"
        ) from error
    if isinstance(failure, Interrupted):
        raise failure
    if failure is not None:
        raise RunnerError(
            f"a task failed on the cluster: {type(failure).__name__}: {failure}: see the logs of its workers, "
            "which need the same version of the runner, and run the same command again"
        ) from failure
    found = future.result()
    if isinstance(found, Mismatch):
        differ = ", ".join(
            f"{name} {found.versions.get(name, 'none')} instead of {own}"
            for name, own in find_versions().items()
            if found.versions.get(name, "none") != own
        )
        raise RunnerError(
            f"the worker {found.worker} has other versions: {differ}: install the same on all workers"
        )
    return Done(*found)
