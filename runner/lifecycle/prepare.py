"""Read the source and write the request bodies of the first round to disk.

Requests that an earlier run already answered are not sent (see `previous_store`). Nothing is sent before the
whole source is read, so that an error in its last row costs nothing. Later rounds are prepared by `again`.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from threading import Event
from typing import Any, BinaryIO, NoReturn

import msgspec

from runner.attachments import AttachedFile
from runner.body import Body, max_params_bytes, pack_requests
from runner.durable import atomic_write, sync_folder
from runner.errors import InputError, Interrupted, Problem
from runner.form import build_output_format
from runner.lifecycle.earlier import ChangeReasons, PreviousResults, find_change_reasons
from runner.lifecycle.job import ProgressCallback, pluralize, summarize_run
from runner.lifecycle.keys import check_unique_keys
from runner.lifecycle.record import origin_digest, take_snapshot
from runner.outcome import make_rejected_line
from runner.prompt.templates import Templates
from runner.request import EncodedRequest, make_request_encoder
from runner.rules.case import Finding
from runner.sources import Row, read_rows
from runner.sources.inputs import Inputs
from runner.spec.spec import Spec
from runner.store.folder import RunFolder, open_slices
from runner.store.known import DigestIndex
from runner.store.records import Run, SettledRow
from runner.store.state import Store


def encode_requests(
    templates: Templates, rows: Iterator[Row], on_attach: Callable[[AttachedFile], None] | None = None
) -> Iterator[tuple[Row, EncodedRequest]]:
    """Yield each row with its request. Raises InputError that names the template and the row.

    `on_attach` is called with each file that the requests attach.
    """
    encode, names = make_request_encoder(templates, *([on_attach] if on_attach else [])), templates.variables
    for row in rows:
        try:
            yield row, encode(names(row.fields))
        except InputError as error:
            _raise_with_row(error, row)


def _raise_with_row(error: InputError, row: Row) -> NoReturn:
    place = f"row {row.number}, {row.path}:{row.line}"
    raise InputError(
        [Problem(p.path, f"{p.message} ({place})", p.line, p.column) for p in error.problems]
    ) from error


_MAX_PENDING_HASHES, _MAX_PENDING_ROWS, _MAX_SHOWN = 10_000, 10_000, 5


def rejected_finding(row: Row, problem: str) -> Finding:
    """Return a warning that this row will not be sent, with its location."""
    return Finding("rejected", "warning", row.path, row.line, 0, f"row {row.number} cannot be sent: {problem}")


@dataclass(slots=True)
class RequestTotals:
    """Number and total weight of the requests that are new for the same reason (see `Store.request_sizes`)."""

    requests: int = 0
    bytes: int = 0

    def add(self, size: int, requests: int = 1) -> None:
        """Add one request, or several with this total weight."""
        self.requests += requests
        self.bytes += size


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """A prepared run, and the reasons why its requests are new.

    `totals_by_reason` is keyed by reason: data, prompt, params or again (see `Reasons`). `reused` counts the
    rows with a result of an earlier run, and `duplicates` the duplicates of an earlier row; neither is sent.
    `rejected_findings` holds a finding for each of the first 5 rows that cannot be sent.
    """

    run: Run
    totals_by_reason: dict[str, RequestTotals]
    reused: int
    duplicates: int
    rejected_findings: list[Finding]


@dataclass(slots=True)
class _FirstRound:
    """State of the first round while it is written: rows read, rows that are not sent, and hashes of keys."""

    templates: Templates
    store: Store
    run: Run
    stop: Event
    change_reasons: ChangeReasons
    seen_digests: DigestIndex
    rows: int = 0
    settled_rows: list[SettledRow] = field(default_factory=list)
    duplicates: list[tuple[int, int]] = field(default_factory=list)
    reused: int = 0
    duplicate_count: int = 0
    digests: dict[int, bytes] = field(default_factory=dict)
    size_adjustments: dict[int, int] = field(default_factory=dict)
    rejected_findings: list[Finding] = field(default_factory=list)
    totals_by_reason: dict[str, RequestTotals] = field(default_factory=dict)
    key_hashes: list[int] = field(default_factory=list)
    sha256: Any = field(default_factory=hashlib.sha256)

    def add_key_hash(self, row: Row) -> None:
        """Record the hash of a key; the store compares all hashes at the end."""
        self.key_hashes.append(hash(str(row.key)))
        if len(self.key_hashes) == _MAX_PENDING_HASHES:
            self.flush_key_hashes()

    def flush_key_hashes(self) -> None:
        """Pass the hashes on to the store."""
        self.store.add_key_hashes(self.rows - len(self.key_hashes) + 1, self.key_hashes)
        self.key_hashes.clear()

    def flush_settled_rows(self) -> None:
        """Record the rows found so far that are not sent, inside the caller's transaction."""
        self.store.add_settled_rows(self.run, self.settled_rows)
        self.store.add_duplicates(self.run, self.duplicates)
        self.settled_rows.clear()
        self.duplicates.clear()

    def new_requests(
        self,
        rows: Iterator[Row],
        rows_file: BinaryIO,
        unsent_file: BinaryIO,
        attached_file: BinaryIO,
        previous_results: PreviousResults | None,
    ) -> Iterator[tuple[int, bytes]]:
        """Yield (row, params) of each request to send; record other rows as rejected, reused or duplicate."""
        spec = self.templates.spec
        encode, salt = msgspec.json.Encoder().encode, digest_key(spec)
        limit, max_rows = max_params_bytes(spec.batch.max_bytes), spec.limits.max_rows

        def note(attached: AttachedFile) -> None:
            attached_file.write(encode(attached._asdict()) + b"\n")

        for row, (params, extra, problem) in encode_requests(self.templates, rows, note):
            if self.stop.is_set():
                raise Interrupted("stopped before anything was sent")
            if max_rows is not None and row.number > max_rows:
                raise InputError([spec.problem("limits.max_rows", f"the source has more than {max_rows:,} rows")])
            try:
                fields = encode(row.fields)
                line = b'{"key":%b,"row":%b}\n' % (encode(row.key), fields)
            except UnicodeEncodeError as error:
                raise InputError(
                    [Problem(row.path, "a field holds half of a surrogate pair", row.line)]
                ) from error
            rows_file.write(line)
            self.sha256.update(line)
            self.rows = row.number
            if spec.source.key is not None:
                self.add_key_hash(row)
            if len(self.settled_rows) + len(self.duplicates) >= _MAX_PENDING_ROWS:
                with self.store.transaction():
                    self.flush_settled_rows()
            if problem is None and len(params) > limit:
                problem = f"the request has {len(params):,} bytes, and batch.max_bytes leaves {limit:,} for one"
            if problem is not None:
                self._reject_row(row, problem, unsent_file)
            elif previous_results is None or self._is_new(
                row, digest_request(salt, params), unsent_file, previous_results
            ):
                self.totals_by_reason.setdefault(self.change_reasons.reason_for(fields), RequestTotals()).add(
                    len(params) + extra
                )
                if extra:
                    self.size_adjustments[row.number] = extra
                yield row.number, params

    def _reject_row(self, row: Row, message: str, unsent_file: BinaryIO) -> None:
        line = make_rejected_line(self._unsent_custom_id(row), message)
        if len(self.rejected_findings) < _MAX_SHOWN:
            self.rejected_findings.append(rejected_finding(row, message))
        self.settled_rows.append(SettledRow(row.number, "rejected", unsent_file.tell(), len(line) - 1))
        unsent_file.write(line)

    def _unsent_custom_id(self, row: Row) -> str:
        return f"{self.run.id}-0-0-{row.number}"

    def _is_new(self, row: Row, digest: bytes, unsent_file: BinaryIO, previous_results: PreviousResults) -> bool:
        """Return whether a request must be sent: no earlier run has its result, and no earlier row sends it."""
        if (line := previous_results.find_result(digest, self._unsent_custom_id(row), row.fields)) is not None:
            self.settled_rows.append(SettledRow(row.number, "succeeded", unsent_file.tell(), len(line), digest))
            unsent_file.write(line + b"\n")
            self.reused += 1
            return False
        # Checks can use fields of the row that are not in the request, so that equal requests can differ.
        is_shared = not previous_results.output_format.checks
        if is_shared and (first := self.seen_digests.setdefault(digest, row.number)) != row.number:
            self.duplicates.append((row.number, first))
            self.duplicate_count += 1
            return False
        self.digests[row.number] = digest
        return True


def digest_key(spec: Spec) -> bytes:
    """Return the key of request digests: a digest of the beta features, which are sent outside the params."""
    return hashlib.blake2b("\n".join(spec.betas).encode(), digest_size=16).digest()


def digest_request(salt: bytes, params: bytes) -> bytes:
    """Return the digest that identifies a request, in 16 bytes."""
    return hashlib.blake2b(params, digest_size=16, key=salt).digest()


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
) -> PreparedRun:
    """Read the source and write all bodies of the first round; the run is `prepared` at the end.

    This starts a new run. With `run_id`, it restores a run whose state was lost, which stays `preparing`.
    Results of earlier runs come from `previous_store`, by default the store itself. Raises InputError for the
    first invalid row and for duplicate keys, and Interrupted if `stop` is set. The run is discarded after any
    error.
    """
    inputs = Inputs(spec.root)
    start = take_snapshot(spec, templates, limit)
    run = store.create_run(
        spec=spec.name,
        spec_path=str(spec.path),
        fingerprint=start.fingerprint(),
        origin=origin_digest(spec, start),
        run_id=run_id,
    )
    previous_store = previous_store or store
    try:
        with (
            closing(find_change_reasons(previous_store, run, start)) as change_reasons,
            closing(DigestIndex()) as seen,
            open_slices() as files,
        ):
            first = _FirstRound(templates, store, run, stop, change_reasons, seen)
            # A recovered run reuses no results: what it had reused is lost, so every row is prepared to be sent.
            known = previous_store.succeeded_requests(run) if run_id is None else None
            answers = PreviousResults(previous_store, known, files, build_output_format(spec.output))
            rows = read_rows(spec.source, inputs, limit=limit)
            _write_first_round(first, spec, store, rows, report, answers)
        folder = store.folder(run)
        if spec.source.key is not None:
            first.flush_key_hashes()
            check_unique_keys(spec, store, folder)
        with atomic_write(folder.spec, private=True) as file:
            written = msgspec.json.encode(replace(start, inputs=inputs.files, types=inputs.types))
            file.write(written)
        with store.transaction():
            first.flush_settled_rows()
            store.recount_outcomes(run)
            digests = {
                "rows_sha256": first.sha256.hexdigest(),
                "spec_sha256": hashlib.sha256(written).hexdigest(),
            }
            # A recovered run still has to be compared with what was sent.
            state = "prepared" if run_id is None else "preparing"
            run = store.update_run(run, state=state, rows=first.rows, **digests)
        return PreparedRun(
            run, first.totals_by_reason, first.reused, first.duplicate_count, first.rejected_findings
        )
    except BaseException:
        store.delete_run(run)
        raise


def _write_first_round(
    first: _FirstRound,
    spec: Spec,
    store: Store,
    rows: Iterator[Row],
    report: ProgressCallback,
    previous_results: PreviousResults,
) -> None:
    folder = store.folder(first.run)
    with (
        atomic_write(folder.rows, private=True) as rows_file,
        atomic_write(folder.results(0, 0), private=True) as unsent_file,
        atomic_write(folder.attachments, private=True) as attached_file,
    ):
        known = previous_results if spec.reuse else None
        pairs = first.new_requests(rows, rows_file, unsent_file, attached_file, known)
        for send_mode, body in _pack_first_round(first.run, spec, pairs, folder):
            with store.transaction():
                store.add_batch(first.run, 1, body, first.digests, send_mode, first.size_adjustments)
                first.flush_settled_rows()
            for row, _, _ in body.requests:
                first.digests.pop(row, None)
                first.size_adjustments.pop(row, None)
            report(
                f"{pluralize(first.rows, 'row')} read", summarize_run(store, replace(first.run, rows=first.rows))
            )
    sync_folder(folder.bodies)


def _pack_first_round(
    run: Run, spec: Spec, pairs: Iterator[tuple[int, bytes]], folder: RunFolder
) -> Iterator[tuple[str, Body]]:
    """Yield the bodies of the first round with their lanes; the canary, if there is one, comes first."""
    write, first = (
        partial(pack_requests, run=run.id, round=1, folder=folder.bodies, max_bytes=spec.batch.max_bytes),
        1,
    )
    if spec.canary:
        for body in write(islice(pairs, spec.canary), max_requests=spec.canary):
            yield "canary", body
            first = body.batch + 1
    for body in write(pairs, max_requests=spec.batch.max_requests, first_number=first):
        yield "batch", body
