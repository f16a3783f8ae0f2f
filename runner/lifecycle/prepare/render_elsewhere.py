"""Render rows elsewhere. Workers get rows and return requests; the order stays that of the rows.

A worker knows the templates and what they need of the spec, but no state, database, receiver or key.
"""

import os
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import lru_cache
from typing import Any, NamedTuple

from runner.errors import InputError, Interrupted, Problem, RunnerError
from runner.requests.attachments import AttachedFile
from runner.requests.encode import EncodedRequest, make_request_encoder
from runner.sources.read import Row
from runner.spec.redact import redact_passwords
from runner.spec.spec import Source, Spec
from runner.templates.templates import Templates
from runner.workers.run_tasks import open_workers, run_tasks, split_work
from runner.workers.tasks import Jobs, Stop, is_stopped

STOPPED = "stopped before anything of the new run was sent"

_ROWS_PER_TASK = 200


EncodeHere = Callable[[Mapping[str, Any]], EncodedRequest]
"""Encodes the request of one row in this process."""


class _Encoded(NamedTuple):
    """The requests of the rows of a task, with the files that each attaches.

    `problems` are those of the row after them, which ends the rows.
    """

    requests: list[tuple[EncodedRequest, list[AttachedFile]]]
    problems: tuple[Problem, ...] = ()


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
    has_files = any(block.type != "text" for block in templates.spec.prompt.blocks())
    # A request with files can have many megabytes.
    most, stop = 1 if has_files else _ROWS_PER_TASK, Stop(should_stop, STOPPED)
    chunks, job = split_work(rows, _measure_row, most=most), pickle_job(templates)
    with (
        open_workers(jobs, stop) as workers,
        closing(run_tasks(workers, render_rows, job, chunks, stop, pick=_pick_fields)) as results,
    ):
        for chunk, (found, worker) in results:
            for row, (request, attached) in zip(chunk, found.requests, strict=not found.problems):
                if worker is not None and request.problem is not None:
                    yield row, _judge_again(row, request.problem, worker, encode_here)
                    continue
                for file in attached:
                    on_attach(file)
                yield row, request
            if found.problems:
                row, judged = chunk[len(found.requests)], found.problems
                if worker is not None:
                    judged = _judge_mistake_again(row, judged[0].message, worker, encode_here)
                yield row, judged
                return


def _measure_row(row: Row) -> int:
    return sum(len(str(value)) for value in row.fields.values())


def _pick_fields(rows: Sequence[Row]) -> list[Mapping[str, Any]]:
    return [row.fields for row in rows]


def pickle_job(templates: Templates) -> bytes:
    """Return the templates with what they need of the spec: no rows, databases, outputs, receivers or notes."""
    spec = templates.spec
    has_folder = spec.source.type in ("files", "text")
    source = Source(spec.source.type, None, {"path": redact_passwords(spec.source.path)} if has_folder else {})
    needed = Spec(
        path=spec.path, root=spec.root, name=spec.name, source=source, prompt=spec.prompt, params=spec.params,
        sinks=(), vars=spec.vars, output=spec.output, batch=spec.batch,
    )  # fmt: skip
    # Workers of a cluster outlast this command, and files can be others at the next.
    return pickle.dumps((needed, templates.texts, os.urandom(8)))


class _Renderer:
    """Renders the rows of one job in this process, and keeps the files that it has read."""

    def __init__(self, job: bytes) -> None:
        spec, texts, _ = pickle.loads(job)  # noqa: S301 - made by `pickle_job` of the command
        self._attached = list[AttachedFile]()
        templates = Templates(spec, texts)
        templates.stop_rendering_when(is_stopped)
        self._encode, self._variables = make_request_encoder(templates, self._attached.append), templates.variables

    def render(self, rows: Sequence[Mapping[str, Any]]) -> _Encoded:
        """Render rows. Raises Interrupted if nobody wants the result."""
        found = list[tuple[EncodedRequest, list[AttachedFile]]]()
        for fields in rows:
            if is_stopped():
                raise Interrupted(STOPPED)
            self._attached.clear()
            try:
                request = self._encode(self._variables(fields))
            except InputError as error:
                return _Encoded(found, error.problems)
            found.append((request, list(self._attached)))
        return _Encoded(found)


_load_renderer = lru_cache(maxsize=1)(_Renderer)


def render_rows(job: bytes, rows: Sequence[Mapping[str, Any]]) -> _Encoded:
    """Render the rows of a task; `job` is that of `pickle_job`."""
    try:
        renderer = _load_renderer(job)
    except InputError as error:
        return _Encoded([], error.problems)
    return renderer.render(rows)


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
