"""Read the source and write the request bodies of the first round to disk.

Requests that an earlier run already answered are not sent (see `earlier`). Nothing is sent before the whole source
is read, so that an error in its last row costs nothing. Later rounds are prepared by `again`.
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

from runner.attachments import Attached
from runner.body import Body, largest, pack
from runner.durable import replacing, sync_folder
from runner.errors import InputError, Interrupted, Problem
from runner.form import form_of
from runner.lifecycle.earlier import Earlier, Reasons, reasons
from runner.lifecycle.job import Report, plural, summarize
from runner.lifecycle.keys import check_keys
from runner.lifecycle.record import origin, record
from runner.outcome import rejected_line
from runner.prompt.templates import Templates
from runner.request import Encoded, encoder
from runner.rules.case import Finding
from runner.sources import Row, read
from runner.sources.inputs import Inputs
from runner.spec.spec import Spec
from runner.store.folder import RunFolder, pieces
from runner.store.known import Digests
from runner.store.records import Run, Unsent
from runner.store.state import Store


def requests(
    templates: Templates, rows: Iterator[Row], note: Callable[[Attached], None] | None = None
) -> Iterator[tuple[Row, Encoded]]:
    """Yield each row with its request. Raises InputError that names the template and the row.

    `note` is called with each file that the requests attach.
    """
    encode, names = encoder(templates, *([note] if note else [])), templates.names
    for row in rows:
        try:
            yield row, encode(names(row.fields))
        except InputError as error:
            _blame(error, row)


def _blame(error: InputError, row: Row) -> NoReturn:
    place = f"row {row.number}, {row.path}:{row.line}"
    raise InputError(
        [Problem(p.path, f"{p.message} ({place})", p.line, p.column) for p in error.problems]
    ) from error


_HASHES, _UNSENT, _SHOWN = 10_000, 10_000, 5


def rejection(row: Row, problem: str) -> Finding:
    """Return a warning that this row will not be sent, with its location."""
    return Finding("rejected", "warning", row.path, row.line, 0, f"row {row.number} cannot be sent: {problem}")


@dataclass(slots=True)
class Share:
    """Number and total weight of the requests that are new for the same reason (see `Store.weights`)."""

    requests: int = 0
    bytes: int = 0

    def add(self, size: int, requests: int = 1) -> None:
        """Add one request, or several with this total weight."""
        self.requests += requests
        self.bytes += size


@dataclass(frozen=True, slots=True)
class Prepared:
    """A prepared run, and the reasons why its requests are new.

    `because` is keyed by reason: data, prompt, params or again (see `Reasons`). `reused` counts the rows with a
    result of an earlier run, and `twins` the duplicates of an earlier row; neither is sent. `rejected` holds a
    finding for each of the first 5 rows that cannot be sent.
    """

    run: Run
    because: dict[str, Share]
    reused: int
    twins: int
    rejected: list[Finding]


@dataclass(slots=True)
class _First:
    """State of the first round while it is written: rows read, rows that are not sent, and hashes of keys."""

    templates: Templates
    store: Store
    run: Run
    stop: Event
    reasons: Reasons
    seen: Digests
    rows: int = 0
    unsent: list[Unsent] = field(default_factory=list)
    twins: list[tuple[int, int]] = field(default_factory=list)
    reused: int = 0
    twin_count: int = 0
    digests: dict[int, bytes] = field(default_factory=dict)
    extras: dict[int, int] = field(default_factory=dict)
    rejected: list[Finding] = field(default_factory=list)
    because: dict[str, Share] = field(default_factory=dict)
    hashes: list[int] = field(default_factory=list)
    sha256: Any = field(default_factory=hashlib.sha256)

    def note_key(self, row: Row) -> None:
        """Record the hash of a key; the store compares all hashes at the end."""
        self.hashes.append(hash(str(row.key)))
        if len(self.hashes) == _HASHES:
            self.flush_keys()

    def flush_keys(self) -> None:
        """Pass the hashes on to the store."""
        self.store.note_keys(self.rows - len(self.hashes) + 1, self.hashes)
        self.hashes.clear()

    def flush(self) -> None:
        """Record the rows found so far that are not sent, inside the caller's transaction."""
        self.store.add_unsent(self.run, self.unsent)
        self.store.add_twins(self.run, self.twins)
        self.unsent.clear()
        self.twins.clear()

    def packable(
        self,
        rows: Iterator[Row],
        rows_file: BinaryIO,
        unsent_file: BinaryIO,
        attached_file: BinaryIO,
        earlier: Earlier | None,
    ) -> Iterator[tuple[int, bytes]]:
        """Yield (row, params) of each request to send; record other rows as rejected, reused or duplicate."""
        spec = self.templates.spec
        encode, salt = msgspec.json.Encoder().encode, salt_of(spec)
        limit, max_rows = largest(spec.batch.max_bytes), spec.limits.max_rows

        def note(attached: Attached) -> None:
            attached_file.write(encode(attached._asdict()) + b"\n")

        for row, (params, extra, problem) in requests(self.templates, rows, note):
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
                self.note_key(row)
            if len(self.unsent) + len(self.twins) >= _UNSENT:
                with self.store.transaction():
                    self.flush()
            if problem is None and len(params) > limit:
                problem = f"the request has {len(params):,} bytes, and batch.max_bytes leaves {limit:,} for one"
            if problem is not None:
                self._reject(row, problem, unsent_file)
            elif earlier is None or self._is_new(row, digest_of(salt, params), unsent_file, earlier):
                self.because.setdefault(self.reasons.of(fields), Share()).add(len(params) + extra)
                if extra:
                    self.extras[row.number] = extra
                yield row.number, params

    def _reject(self, row: Row, message: str, unsent_file: BinaryIO) -> None:
        line = rejected_line(self._unsent_id(row), message)
        if len(self.rejected) < _SHOWN:
            self.rejected.append(rejection(row, message))
        self.unsent.append(Unsent(row.number, "rejected", unsent_file.tell(), len(line) - 1))
        unsent_file.write(line)

    def _unsent_id(self, row: Row) -> str:
        return f"{self.run.id}-0-0-{row.number}"

    def _is_new(self, row: Row, digest: bytes, unsent_file: BinaryIO, earlier: Earlier) -> bool:
        """Return whether a request must be sent: no earlier run has its result, and no earlier row sends it."""
        if (line := earlier.line(digest, self._unsent_id(row), row.fields)) is not None:
            self.unsent.append(Unsent(row.number, "succeeded", unsent_file.tell(), len(line), digest))
            unsent_file.write(line + b"\n")
            self.reused += 1
            return False
        # Checks can use fields of the row that are not in the request, so that equal requests can differ.
        is_shared = not earlier.form.checks
        if is_shared and (first := self.seen.first(digest, row.number)) != row.number:
            self.twins.append((row.number, first))
            self.twin_count += 1
            return False
        self.digests[row.number] = digest
        return True


def salt_of(spec: Spec) -> bytes:
    """Return the key of request digests: a digest of the beta features, which are sent outside the params."""
    return hashlib.blake2b("\n".join(spec.betas).encode(), digest_size=16).digest()


def digest_of(salt: bytes, params: bytes) -> bytes:
    """Return the digest that identifies a request, in 16 bytes."""
    return hashlib.blake2b(params, digest_size=16, key=salt).digest()


def prepare(
    spec: Spec,
    templates: Templates,
    store: Store,
    *,
    limit: int | None,
    stop: Event,
    report: Report,
    run_id: str | None = None,
    earlier: Store | None = None,
) -> Prepared:
    """Read the source and write all bodies of the first round; the run is `prepared` at the end.

    This starts a new run. With `run_id`, it restores a run whose state was lost, which stays `preparing`. Results
    of earlier runs come from `earlier`, by default the store itself. Raises InputError for the first invalid row
    and for duplicate keys, and Interrupted if `stop` is set. The run is discarded after any error.
    """
    inputs = Inputs(spec.root)
    start = record(spec, templates, limit)
    run = store.start(
        spec=spec.name,
        spec_path=str(spec.path),
        fingerprint=start.fingerprint(),
        origin=origin(spec, start),
        run_id=run_id,
    )
    earlier = earlier or store
    try:
        with closing(reasons(earlier, run, start)) as why, closing(Digests()) as seen, pieces() as files:
            first = _First(templates, store, run, stop, why, seen)
            # A recovered run reuses no results: what it had reused is lost, so every row is prepared to be sent.
            known = earlier.answers(run) if run_id is None else None
            answers = Earlier(earlier, known, files, form_of(spec.output))
            rows = read(spec.source, inputs, limit=limit)
            _write(first, spec, store, rows, report, answers)
        folder = store.folder(run)
        if spec.source.key is not None:
            first.flush_keys()
            check_keys(spec, store, folder)
        with replacing(folder.spec, private=True) as file:
            written = msgspec.json.encode(replace(start, inputs=inputs.files, types=inputs.types))
            file.write(written)
        with store.transaction():
            first.flush()
            store.recount(run)
            digests = {
                "rows_sha256": first.sha256.hexdigest(),
                "spec_sha256": hashlib.sha256(written).hexdigest(),
            }
            # A recovered run still has to be compared with what was sent.
            state = "prepared" if run_id is None else "preparing"
            run = store.update(run, state=state, rows=first.rows, **digests)
        return Prepared(run, first.because, first.reused, first.twin_count, first.rejected)
    except BaseException:
        store.discard(run)
        raise


def _write(first: _First, spec: Spec, store: Store, rows: Iterator[Row], report: Report, earlier: Earlier) -> None:
    folder = store.folder(first.run)
    with (
        replacing(folder.rows, private=True) as rows_file,
        replacing(folder.results(0, 0), private=True) as unsent_file,
        replacing(folder.attached, private=True) as attached_file,
    ):
        known = earlier if spec.reuse else None
        pairs = first.packable(rows, rows_file, unsent_file, attached_file, known)
        for lane, body in _packed(first.run, spec, pairs, folder):
            with store.transaction():
                store.add_batch(first.run, 1, body, first.digests, lane, first.extras)
                first.flush()
            for row, _, _ in body.requests:
                first.digests.pop(row, None)
                first.extras.pop(row, None)
            report(f"{plural(first.rows, 'row')} read", summarize(store, replace(first.run, rows=first.rows)))
    sync_folder(folder.bodies)


def _packed(
    run: Run, spec: Spec, pairs: Iterator[tuple[int, bytes]], folder: RunFolder
) -> Iterator[tuple[str, Body]]:
    """Yield the bodies of the first round with their lanes; the canary, if there is one, comes first."""
    write, first = partial(pack, run=run.id, round=1, folder=folder.bodies, max_bytes=spec.batch.max_bytes), 1
    if spec.canary:
        for body in write(islice(pairs, spec.canary), max_requests=spec.canary):
            yield "canary", body
            first = body.batch + 1
    for body in write(pairs, max_requests=spec.batch.max_requests, first=first):
        yield "batch", body
