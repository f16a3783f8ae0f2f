"""Tell new requests from reused ones, duplicates and rejected rows, while the first round is written."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any, BinaryIO, NamedTuple

import msgspec

from runner.errors import InputError, Interrupted, Problem
from runner.lifecycle.prepare.change_reasons import ChangeReasons
from runner.lifecycle.prepare.render import encode_requests, rejected_finding
from runner.lifecycle.prepare.reuse import PreviousResults, renamed_line
from runner.requests.attachment_totals import AttachedCounts
from runner.requests.attachments import AttachedFile, encode_attached
from runner.requests.pack import MAX_SYNC_BYTES, max_params_bytes
from runner.requests.stored_params import Params
from runner.results.outcome import make_rejected_line
from runner.rules.finding import Finding
from runner.sinks.row_checks import SinkRowChecks
from runner.sources.read import Row
from runner.spec.spec import Spec
from runner.store.index.unsent_rows import UnsentRows
from runner.store.records import Run, SettledRow
from runner.store.store import Store
from runner.store.temporary.digest_index import DigestIndex
from runner.templates.templates import Templates
from runner.text import pluralize
from runner.workers.tasks import Jobs

_MAX_PENDING_HASHES, _MAX_SHOWN = 10_000, 5


_encode = msgspec.json.Encoder().encode


class KeptResult(NamedTuple):
    """The result that a row keeps from an earlier run, and the digest of the request that it answers.

    `line` is its line in the results of that run, or None if it has none.
    """

    outcome: str
    line: bytes | None
    digest: bytes | None


@dataclass(slots=True)
class RequestTotals:
    """Number and total size, in bytes of params, of the requests that are new for the same reason."""

    requests: int = 0
    bytes: int = 0

    def add(self, size: int, requests: int = 1) -> None:
        """Add one request, or several with this total size."""
        self.requests += requests
        self.bytes += size


@dataclass(slots=True)
class FirstRound:
    """State of the first round while it is written: rows read, rows that are not sent, and hashes of keys.

    `count_row` is called with the number of each row. `mark_bytes` are added to each request that is sent. Rows
    are rendered by `jobs`.
    """

    templates: Templates
    store: Store
    run: Run
    stop: Event
    change_reasons: ChangeReasons
    seen_digests: DigestIndex
    sink_checks: SinkRowChecks | None = None
    count_row: Callable[[int], None] = lambda _: None
    mark_bytes: int = 0
    jobs: Jobs = 1
    earlier_rows: Iterator[tuple[Row, KeptResult | None]] | None = None
    rows: int = 0
    unsent: UnsentRows = field(init=False)
    reused: int = 0
    duplicate_count: int = 0
    digests: dict[int, bytes] = field(default_factory=dict)
    size_adjustments: dict[int, int] = field(default_factory=dict)
    rejected: int = 0
    rejected_findings: list[Finding] = field(default_factory=list)
    totals_by_reason: dict[str, RequestTotals] = field(default_factory=dict)
    attached: AttachedCounts = field(default_factory=AttachedCounts)
    key_hashes: list[int] = field(default_factory=list)
    sha256: Any = field(default_factory=hashlib.sha256)

    def shorten_rejected(self) -> list[Finding]:
        """Return the findings about the first rejected rows, of which the last says how many more there are."""
        more = self.rejected - len(self.rejected_findings)
        if more == 0:
            return self.rejected_findings
        *others, last = self.rejected_findings
        return [*others, replace(last, message=f"{last.message} (and {pluralize(more, 'more row')})")]

    def add_key_hash(self, row: Row) -> None:
        """Record the hash of a key; the store compares all hashes at the end."""
        self.key_hashes.append(hash(str(row.key)))
        if len(self.key_hashes) == _MAX_PENDING_HASHES:
            self.flush_key_hashes()

    def flush_key_hashes(self) -> None:
        """Pass the hashes on to the store."""
        self.store.key_hashes.add(self.rows - len(self.key_hashes) + 1, self.key_hashes)
        self.key_hashes.clear()

    def new_requests(
        self,
        rows: Iterator[Row],
        rows_file: BinaryIO,
        unsent_file: BinaryIO,
        attached_file: BinaryIO,
        previous_results: PreviousResults | None,
    ) -> Iterator[tuple[int, Params]]:
        """Yield (row, params) of each request to send; record other rows as rejected, reused or duplicate.

        With `earlier_rows`, those are the rows, and the ones that keep a result are recorded with it.
        """
        spec = self.templates.spec
        salt = digest_key(spec)

        def note(attached: AttachedFile) -> None:
            attached_file.write(encode_attached(attached) + b"\n")

        if self.earlier_rows is not None:
            rows = self._keep_results(self.earlier_rows, rows_file, unsent_file)
        self.templates.stop_rendering_when(self.stop.is_set)
        how: dict[str, Any] = {"jobs": self.jobs, "should_stop": self.stop.is_set}
        for row, (params, adjustment, problem, attached) in encode_requests(self.templates, rows, note, **how):
            self._check_limits(row)
            self.count_row(row.number)
            fields = self._write_row(row, rows_file)
            if problem is None:
                problem = self._find_size_problem(len(params.sent) + self.mark_bytes)
            if self.sink_checks is not None:
                self.sink_checks.add_row(row, is_rejected=problem is not None)
            if problem is not None:
                self._reject_row(row, problem, unsent_file)
                continue
            digest = b"" if previous_results is None else digest_request(salt, params.sent)
            reason = self._find_reason(row, fields, digest, unsent_file, previous_results)
            if reason is not None:
                self._count_new(row, reason, len(params.sent), adjustment)
                if attached is not None:
                    self.attached.add(attached)
                yield row.number, params

    def _keep_results(
        self, rows: Iterator[tuple[Row, KeptResult | None]], rows_file: BinaryIO, unsent_file: BinaryIO
    ) -> Iterator[Row]:
        """Record the rows that keep a result, and yield the others, which are to be rendered."""
        for row, kept in rows:
            if kept is None:
                yield row
                continue
            self._check_limits(row)
            self._write_row(row, rows_file)
            has_succeeded = kept.outcome == "succeeded"
            if self.sink_checks is not None:
                self.sink_checks.add_row(row, is_rejected=not has_succeeded)
            self.reused += has_succeeded
            if kept.line is None:
                self.unsent.add_settled(SettledRow(row.number, kept.outcome, None, None))
                continue
            line = renamed_line(kept.line, self._unsent_custom_id(row))
            place = (unsent_file.tell(), len(line))
            self.unsent.add_settled(SettledRow(row.number, kept.outcome, *place, kept.digest))
            unsent_file.write(line + b"\n")

    def _check_limits(self, row: Row) -> None:
        """Raise Interrupted after a stop, and InputError for a row too many."""
        if self.stop.is_set():
            raise Interrupted("stopped before anything of the new run was sent")
        spec = self.templates.spec
        max_rows = spec.limits.max_rows
        if max_rows is not None and row.number > max_rows:
            shown = pluralize(max_rows, "row")
            raise InputError([spec.problem("limits.max_rows", f"the source has more than {shown}")])

    def _find_size_problem(self, size: int) -> str | None:
        """Return why a request of this size in bytes cannot be sent, or None."""
        spec = self.templates.spec
        if size > (limit := max_params_bytes(spec.batch.max_bytes)):
            return f"the request has {size:,} bytes, and batch.max_bytes leaves {limit:,} for one"
        if spec.mode == "sync" and size > MAX_SYNC_BYTES:
            return f"the request has {size:,} bytes, and {MAX_SYNC_BYTES:,} is the most with `mode: sync`"
        return None

    def _write_row(self, row: Row, rows_file: BinaryIO) -> bytes:
        """Write a row as it was read, and return its fields as JSON. Raises InputError if they are not Unicode."""
        try:
            fields = _encode(row.fields)
            line = b'{"key":%b,"row":%b}\n' % (_encode(row.key), fields)
        except UnicodeEncodeError as error:
            raise InputError([Problem(row.path, "a field holds half of a surrogate pair", row.line)]) from error
        rows_file.write(line)
        self.sha256.update(line)
        self.rows = row.number
        if self.templates.spec.source.key is not None:
            self.add_key_hash(row)
        return fields

    def _count_new(self, row: Row, reason: str, size: int, adjustment: int) -> None:
        self.totals_by_reason.setdefault(reason, RequestTotals()).add(size + adjustment)
        if adjustment:
            self.size_adjustments[row.number] = adjustment

    def _reject_row(self, row: Row, message: str, unsent_file: BinaryIO) -> None:
        line = make_rejected_line(self._unsent_custom_id(row), message)
        self.rejected += 1
        if len(self.rejected_findings) < _MAX_SHOWN:
            self.rejected_findings.append(rejected_finding(row, message))
        self.unsent.add_settled(SettledRow(row.number, "rejected", unsent_file.tell(), len(line) - 1))
        unsent_file.write(line)

    def _unsent_custom_id(self, row: Row) -> str:
        return f"{self.run.id}-0-0-{row.number}"

    def _find_reason(
        self,
        row: Row,
        fields: bytes,
        digest: bytes,
        unsent_file: BinaryIO,
        previous_results: PreviousResults | None,
    ) -> str | None:
        """Return why a request must be sent; None if an earlier run has its result or an earlier row sends it."""
        if previous_results is None:
            return self.change_reasons.reason_for(fields)
        line, has_answer = previous_results.find_result(digest, self._unsent_custom_id(row), row.fields)
        if line is not None:
            self.unsent.add_settled(SettledRow(row.number, "succeeded", unsent_file.tell(), len(line), digest))
            unsent_file.write(line + b"\n")
            self.reused += 1
            return None
        # Checks can use fields of the row that are not in the request, so that equal requests can differ.
        is_shared = not previous_results.output_format.checks
        if is_shared and (first := self.seen_digests.setdefault(digest, row.number)) != row.number:
            self.unsent.add_duplicate(row.number, first)
            self.duplicate_count += 1
            return None
        self.digests[row.number] = digest
        return "invalid" if has_answer else self.change_reasons.reason_for(fields)


def digest_key(spec: Spec) -> bytes:
    """Return the key of request digests: a digest of the beta features, which are sent outside the params."""
    return hashlib.blake2b("\n".join(spec.betas).encode(), digest_size=16).digest()


def digest_request(salt: bytes, params: bytes) -> bytes:
    """Return the digest that identifies a request, in 16 bytes."""
    return hashlib.blake2b(params, digest_size=16, key=salt).digest()
