"""Format the rows of an output elsewhere, if it is a file that has something for each row, as CSV and JSON Lines.

A worker judges stored rows, and returns the bytes of their records for each sink. What it cannot do is done again
here, so that an error is that of one process.
"""

import os
import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing
from functools import lru_cache
from typing import NamedTuple

from runner.errors import RunnerError
from runner.evaluation.evaluator import Evaluator
from runner.lifecycle.deliver.places import OutputPlace
from runner.lifecycle.deliver.provenance import DIGEST_FIELD, Provenance, find_used_fields
from runner.lifecycle.deliver.row_results import RowJudge, StoredRow
from runner.lifecycle.deliver.sink_group import group_sinks
from runner.lifecycle.deliver.write_rows import Counts, RowWriter, needs_decoding
from runner.pricing.rates import Rate
from runner.results.output_format import build_output_format
from runner.runs.context import RunContext
from runner.sinks.destination import InMemory
from runner.spec.spec import Sink, Source, Spec
from runner.store.records import Batch
from runner.workers.run_tasks import WorkerPool, run_tasks, split_work
from runner.workers.tasks import Stop, choose_jobs

_WORTH_ROWS = 20_000
"""Fewer rows are formatted here: that takes about as long as starting a process. An Executor has started."""

_LINE_TYPES = ("csv", "jsonl")
"""Types whose files have a beginning, which depends on the columns, and then what each row adds.

Those of other packages are not among them: workers may have other versions of these.
"""

_PLACES = ("path", "url", "parts")


class _Part(NamedTuple):
    """Rows that one task formats, with the batches that they are in."""

    rows: Sequence[StoredRow]
    batches: Mapping[tuple[int, int], Batch]


class _Formatted(NamedTuple):
    """The bytes and the number of the rows of a part in each sink by its index, and what is counted of them."""

    lines: dict[int, tuple[bytes, int]]
    counts: Counts


def can_format_elsewhere(context: RunContext) -> bool:
    """Return whether the outputs of a run are formatted by `context.jobs`, because that is possible and worth it.

    The scores of evaluations need all rows in one place, and digests of requests the files of the run.
    """
    spec, jobs = context.spec, choose_jobs(context.jobs, context.run.rows)
    is_worth = isinstance(jobs, Executor) or (jobs != 1 and context.run.rows >= _WORTH_ROWS)
    return (
        is_worth
        and not spec.evaluate
        and DIGEST_FIELD not in find_used_fields(spec)
        and all(sink.type in _LINE_TYPES and not sink.has_parts for sink in spec.sinks)
    )


def pickle_job(spec: Spec, run_id: str, rate: Rate | None) -> bytes:
    """Return what is needed to format rows: no place of an output, no source, and no receiver."""
    sinks = tuple(_without_place(sink) for sink in spec.sinks)
    needed = Spec(
        path=spec.path, root=spec.root, name=spec.name, source=Source(spec.source.type, spec.source.key, {}),
        prompt=spec.prompt, params=spec.params, sinks=sinks, output=spec.output,
    )  # fmt: skip
    # A worker that has failed must not be used by a later command.
    return pickle.dumps((needed, run_id, rate, os.urandom(8)))


def _without_place(sink: Sink) -> Sink:
    options = {name: value for name, value in sink.options.items() if name not in _PLACES}
    return Sink(sink.type, sink.rows, sink.columns, options, sink.types)


class _Formatter:
    """Formats the rows of one job in this process, into files in memory."""

    def __init__(self, job: bytes) -> None:
        self._spec, self._run_id, rate, _ = pickle.loads(job)  # noqa: S301 - made by `pickle_job` of the command
        self._files = [InMemory() for _ in self._spec.sinks]
        self._groups = group_sinks(self._spec, [OutputPlace(file) for file in self._files])
        for group in self._groups:
            group.open(self._spec, {})
        self._take_lines()
        self._rules = build_output_format(self._spec.output)
        self._provenance = Provenance(self._run_id, rate, lambda _: None).list_fields(self._spec)

    def format(self, part: _Part) -> _Formatted | None:
        """Return what a part adds to each output; None if a sink has failed."""
        writer = RowWriter(
            RowJudge(self._run_id, self._rules, part.batches),
            self._groups,
            Evaluator((), {}),
            self._provenance,
            self._spec.variant,
            needs_decoding(self._spec),
        )
        counts = Counts()
        for stored in part.rows:
            writer.write(stored, counts)
        if any(group.problems for group in self._groups):
            return None
        return _Formatted(self._take_lines(), counts)

    def _take_lines(self) -> dict[int, tuple[bytes, int]]:
        """Return the bytes and rows that the sinks have taken since the last call."""
        taken = {}
        for group in self._groups:
            for index, rows in group.rows.items():
                file = self._files[index].file
                taken[index] = file.getvalue(), rows
                file.seek(0)
                file.truncate()
                group.rows[index] = 0
        return taken


_load_formatter = lru_cache(maxsize=1)(_Formatter)


def format_rows(job: bytes, part: _Part) -> _Formatted | None:
    """Format a part of the rows; None if it has to be done where the run is."""
    try:
        formatted = _load_formatter(job).format(part)
    except RunnerError:
        formatted = None
    if formatted is None:
        _load_formatter.cache_clear()
    return formatted


def write_formatted(
    context: RunContext,
    rows: Iterable[StoredRow],
    batches: Mapping[tuple[int, int], Batch],
    writer: RowWriter,
    counts: Counts,
) -> None:
    """Write rows to the open groups of `writer`, formatted by `context.jobs`.

    Raises Interrupted after a stop, and what `run_tasks` raises.
    """
    stop = Stop(context.stop.is_set, STOPPED)
    job = pickle_job(context.spec, context.run.id, context.rate)
    with (
        closing(WorkerPool(choose_jobs(context.jobs, context.run.rows), stop)) as pool,
        closing(run_tasks(pool.open(), format_rows, job, _split_rows(rows, batches), stop)) as done,
    ):
        for part, (formatted, _) in done:
            _write_part(context.spec, part, formatted, writer, counts)


def _write_part(spec: Spec, part: _Part, formatted: _Formatted | None, writer: RowWriter, counts: Counts) -> None:
    if formatted is None:
        for stored in part.rows:
            writer.write(stored, counts)
        return
    counts.add(formatted.counts)
    for group in writer.groups:
        for index in group.places:
            group.write_lines(spec, index, *formatted.lines[index])


def _split_rows(rows: Iterable[StoredRow], batches: Mapping[tuple[int, int], Batch]) -> Iterator[_Part]:
    for part in split_work(rows, lambda one: len(one.line) + len(one.result or b"")):
        keys = {(one.round, one.batch) for one in part}
        yield _Part(part, {key: batches[key] for key in keys if key in batches})


STOPPED = "stopped while the outputs were written: they stay as they were"
