"""Read the source and write the request bodies of the first round to disk.

Requests that an earlier run already answered are not sent (see `previous_store`). Nothing is sent before the
whole source is read, so that an error in its last row costs nothing. `next_round` prepares the later rounds.
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from threading import Event
from typing import Any

import msgspec

from runner.errors import InputError
from runner.files.atomic import atomic_write, sync_folder
from runner.lifecycle.prepare.cached_prefix import CachedPrefix, find_cached_prefix
from runner.lifecycle.prepare.change_reasons import find_change_reasons
from runner.lifecycle.prepare.first_round import FirstRound, KeptResult, RequestTotals
from runner.lifecycle.prepare.reuse import PreviousResults, keep_params_order
from runner.lifecycle.prepare.unique_keys import check_unique_keys
from runner.requests.attachment_totals import AttachedCounts
from runner.requests.pack import Body, pack_requests
from runner.requests.stored_params import Params
from runner.results.output_format import build_output_format
from runner.rules.finding import Finding
from runner.runs.context import build_event
from runner.runs.events import ProgressCallback
from runner.runs.snapshot import SpecSnapshot, origin_digest, take_snapshot
from runner.sinks.row_checks import SinkRowChecks
from runner.sources.input_files import Inputs
from runner.sources.read import Row, read_rows
from runner.spec.spec import Spec
from runner.store.index.unsent_rows import write_unsent_rows
from runner.store.records import Run
from runner.store.run_folder import FileSlices, RunFolder, open_slices
from runner.store.store import Store
from runner.store.temporary.digest_index import DigestIndex
from runner.templates.templates import Templates
from runner.text import pluralize
from runner.workers.tasks import Jobs

_REPORT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """A prepared run, and the reasons why its requests are new.

    `totals_by_reason` is keyed by reason: data, rest, prompt, params, again, purged or invalid (see
    `ChangeReasons`). `reused` counts the rows with a result of an earlier run, and `duplicates` the duplicates of
    an earlier row; neither is sent. `attached` counts the documents and images of the requests to send.
    `rejected_findings` holds a finding for each of the first 5 rows that cannot be sent; the last says how
    many more there are.
    """

    run: Run
    totals_by_reason: dict[str, RequestTotals]
    reused: int
    duplicates: int
    rejected_findings: list[Finding]
    attached: AttachedCounts


class _RowCounter:
    """Report how many rows were read, about once a second."""

    def __init__(self, store: Store, run: Run, report: ProgressCallback) -> None:
        self._store, self._run, self._report = store, run, report
        self._next_at = time.monotonic() + _REPORT_SECONDS

    def count(self, rows: int) -> None:
        """Report this number of rows, if that is due."""
        if (now := time.monotonic()) < self._next_at:
            return
        self._next_at = now + _REPORT_SECONDS
        line = f"{pluralize(rows, 'row')} read so far"
        self._report(build_event(self._store, replace(self._run, rows=rows), "reading", line))


@dataclass(frozen=True, slots=True)
class EarlierRows:
    """Rows as an earlier run read them, each with the result that it keeps; None if it is sent.

    `snapshot` is that of the new run.
    """

    rows: Iterator[tuple[Row, KeptResult | None]]
    snapshot: SpecSnapshot


def _create_run(store: Store, spec: Spec, snapshot: SpecSnapshot, run_id: str | None) -> Run:
    return store.create_run(
        spec=spec.name,
        spec_path=str(spec.path),
        fingerprint=snapshot.fingerprint(),
        origin=origin_digest(spec, snapshot),
        run_id=run_id,
        is_pilot=spec.source.pilot is not None,
    )


def prepare_first_round(
    spec: Spec,
    templates: Templates,
    store: Store,
    *,
    limit: int | None,
    stop: Event,
    report: ProgressCallback,
    run_id: str | None = None,
    previous_store: Store | None = None,
    earlier: EarlierRows | None = None,
    jobs: Jobs = 1,
) -> PreparedRun:
    """Read the source and write all bodies of the first round; the run is `prepared` at the end.

    With `run_id`, it restores a run whose state was lost, which stays `preparing` until it is compared with
    what was sent. Results of earlier runs come from `previous_store`, by default the store itself. With `earlier`,
    the rows are those of an earlier run, and the source is not read. Rows are rendered by `jobs`, which
    changes no byte. The run is discarded on an error: InputError for an invalid row, duplicate keys, or rows that
    a sink cannot write, and Interrupted if `stop` is set.
    """
    if earlier is None:
        spec = keep_params_order(spec, previous_store or store)
        templates = templates if templates.spec is spec else replace(templates, spec=spec)
    inputs, start = Inputs(spec.root), earlier.snapshot if earlier else take_snapshot(spec, templates, limit)
    inputs.types.update(start.types)
    run, previous_store = _create_run(store, spec, start, run_id), previous_store or store
    try:
        with (
            closing(find_change_reasons(previous_store, run, start)) as reasons,
            closing(DigestIndex()) as seen,
            closing(SinkRowChecks(spec, inputs)) as sink_checks,
            open_slices() as files,
        ):
            first = FirstRound(templates, store, run, stop, reasons, seen)
            # What a recovered run has sent is paid: the sinks can still be corrected before it is delivered.
            first.sink_checks = sink_checks if run_id is None else None
            first.count_row = _RowCounter(store, run, report).count
            first.earlier_rows, first.jobs = None if earlier is None else earlier.rows, jobs
            results = _open_results(previous_store, run, spec, files, is_recovered=run_id is not None)
            _write_first_round(first, spec, store, _read_rows(spec, inputs, limit), results)
            _check_keys(first, spec, store)
            unwritable = sink_checks.finish()
        snapshot = (
            start
            if earlier
            else replace(start, inputs=inputs.files, types=inputs.types, selected_rows=inputs.selected_rows)
        )
        run = _record_prepared(first, store, snapshot, is_recovered=run_id is not None)
        report(build_event(store, run, "read", f"{pluralize(run.rows, 'row')} read"))
        for problem in unwritable:
            report(build_event(store, run, "warning", str(problem)))
    except BaseException:
        store.delete_run(run)
        raise
    counts = (first.totals_by_reason, first.reused, first.duplicate_count)
    return PreparedRun(run, *counts, first.shorten_rejected(), first.attached)


def _read_rows(spec: Spec, inputs: Inputs, limit: int | None) -> Iterator[Row]:
    """Yield the rows of the source. Raises InputError, with the location of a setting that is at fault."""
    rows = read_rows(spec.source, inputs, limit=limit)
    try:
        # The number of rows from which a pilot is drawn is known once it has its first row.
        yield from islice(rows, 1)
        _check_whole_job(spec, inputs)
        yield from rows
    except InputError as error:
        raise InputError([spec.locate(problem) for problem in error.problems]) from error


def _check_whole_job(spec: Spec, inputs: Inputs) -> None:
    """Raise InputError if the job of a pilot has too many rows: it would not run after it."""
    selected, most = inputs.selected_rows, spec.limits.max_rows
    if selected is not None and most is not None and selected > most:
        message = (
            f"the job of this pilot has {pluralize(selected, 'row')}, so it would not run: raise the limit, or "
            "select fewer rows"
        )
        raise InputError([spec.problem("limits.max_rows", message)])


def _open_results(
    previous_store: Store, run: Run, spec: Spec, files: FileSlices, *, is_recovered: bool
) -> PreviousResults:
    """Return the results of earlier runs.

    A recovered run reuses none: what it had reused is lost, so every row is prepared to be sent.
    """
    index = None if is_recovered else previous_store.answered_requests(run)
    return PreviousResults(previous_store, index, files, build_output_format(spec.output))


def _check_keys(first: FirstRound, spec: Spec, store: Store) -> None:
    """Raise InputError if two rows have the same key."""
    if spec.source.key is not None:
        first.flush_key_hashes()
        check_unique_keys(spec, store, store.folder(first.run))


def _record_prepared(first: FirstRound, store: Store, snapshot: SpecSnapshot, *, is_recovered: bool) -> Run:
    """Write the snapshot of a run whose bodies are on disk, and record that it is prepared."""
    state = "preparing" if is_recovered else "prepared"
    written = msgspec.json.encode(snapshot)
    with atomic_write(store.folder(first.run).to_write.spec, private=True) as file:
        file.write(written)
    digests = {
        "rows_sha256": first.sha256.hexdigest(),
        "spec_sha256": hashlib.sha256(written).hexdigest(),
        "unsent_index": first.unsent.unsent_index,
        "duplicate_index": first.unsent.duplicate_index,
    }
    with store.transaction():
        store.counts.replace(first.run.number, first.unsent.outcomes)
        return store.update_run(first.run, state=state, rows=first.rows, **digests)


def _write_first_round(
    first: FirstRound,
    spec: Spec,
    store: Store,
    rows: Iterator[Row],
    previous_results: PreviousResults,
) -> None:
    folder, prefix = store.folder(first.run), find_cached_prefix(first.templates)
    first.mark_bytes = prefix.mark_bytes
    with (
        atomic_write(folder.to_write.rows, private=True) as rows_file,
        atomic_write(folder.to_write.results(0, 0), private=True) as unsent_file,
        atomic_write(folder.to_write.attachments, private=True) as attached_file,
        write_unsent_rows(folder) as first.unsent,
    ):
        known = previous_results if spec.reuse else None
        pairs = first.new_requests(rows, rows_file, unsent_file, attached_file, known)
        for kind, body in _pack_first_round(first.run, spec, pairs, folder, prefix):
            with store.transaction():
                store.add_batch(first.run, 1, body, first.digests, size_adjustments=first.size_adjustments, **kind)
            for row, _, _ in body.requests:
                first.digests.pop(row, None)
                first.size_adjustments.pop(row, None)
    sync_folder(folder.bodies)


def _pack_first_round(
    run: Run, spec: Spec, pairs: Iterator[tuple[int, Params]], folder: RunFolder, prefix: CachedPrefix
) -> Iterator[tuple[dict[str, Any], Body]]:
    """Yield the bodies of the first round, each with its columns.

    The canary, if there is one, comes first, then the request that warms the cache.
    """
    write = partial(pack_requests, run=run.id, round=1, folder=folder.bodies, max_bytes=spec.batch.max_bytes)
    first = 1
    if spec.canary:
        for body in write(islice(pairs, spec.canary), max_requests=spec.canary):
            yield {"send_mode": "canary"}, body
            first = body.batch + 1
    prefix, pairs = prefix.hold(pairs)
    marked = ((row, prefix.add_mark(params)) for row, params in pairs)
    if prefix.ttl is not None and spec.mode != "sync":
        for body in write(islice(marked, 1), max_requests=1, first_number=first):
            yield {"cache": prefix.ttl, "is_warmup": True}, body
            first = body.batch + 1
    for body in write(marked, max_requests=spec.batch.max_requests, first_number=first):
        yield {"cache": prefix.ttl}, body
