"""Rows become bodies on disk: the first round from the source, each later one from the bodies before it.

Nothing is sent before the whole source is read, so that a mistake in its last row costs nothing.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any, BinaryIO, NoReturn

import msgspec

from runner.durable import replacing, sync_folder
from runner.errors import InputError, Interrupted, Problem, StateError
from runner.lifecycle.job import Job, Report, plural, summarize
from runner.outcome import Validate, rejected_line
from runner.outcome import read as read_line
from runner.prompt import Templates
from runner.request import encoder, largest, pack
from runner.sources import InputFile, Inputs, Row, digest, read
from runner.spec import Spec, fingerprint
from runner.store import Pieces, Run, RunFolder, Store, pieces


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a run was started with: `spec.json` of its folder.

    `record` is the spec's (see `Spec.record`), `templates` the files of prompts/, `limit` the most rows.
    """

    record: dict[str, Any]
    templates: dict[str, str]
    limit: int | None
    inputs: list[InputFile]

    def fingerprint(self) -> str:
        """The digest of all that was written by a person; input files are compared by themselves."""
        return fingerprint({"record": self.record, "templates": self.templates, "limit": self.limit})


def recorded(store: Store, run: Run) -> Recorded:
    """Read back what a run was started with. Raises StateError."""
    try:
        written = store.folder(run).spec.read_bytes()
        found = msgspec.json.decode(written, type=Recorded)
        is_same = hashlib.sha256(written).hexdigest() == run.spec_sha256 or run.spec_sha256 is None
        if not is_same or found.fingerprint() != run.fingerprint or found.record["name"] != run.spec:
            raise ValueError("it is not what was written")
        return found
    except (OSError, ValueError) as error:
        raise StateError(
            f"the record of run {run.id} is damaged: {store.folder(run).spec}: "
            f"{getattr(error, 'strerror', error)}; restore it, or let `runner purge {run.id}` forget the run if "
            "it has ended"
        ) from error


def record(spec: Spec, templates: Templates, limit: int | None) -> Recorded:
    """What a run of a spec is started with, before its inputs are read."""
    return Recorded(spec.record(), templates.files(), limit, [])


def origin(spec: Spec, start: Recorded) -> str:
    """A digest of what a run is made of: what its id tells of it. With a limit the input is not read for it."""
    inputs = "" if start.limit is not None else digest(spec.root, str(spec.source.options["path"]))
    return hashlib.sha256(f"{start.fingerprint()} {inputs}".encode()).hexdigest()


def requests(templates: Templates, rows: Iterator[Row]) -> Iterator[tuple[Row, bytes]]:
    """Each row with the JSON of its params. Raises InputError that names the template and the row."""
    encode, names = encoder(templates), templates.names
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


_HASHES = 10_000


@dataclass(slots=True)
class _First:
    """The first round while it is written: how many rows were read, which cannot be sent, hashes of keys."""

    templates: Templates
    store: Store
    run: Run
    stop: Event
    rows: int = 0
    rejected: list[tuple[int, int, int]] = field(default_factory=list)
    hashes: list[int] = field(default_factory=list)
    sha256: Any = field(default_factory=hashlib.sha256)

    def note_key(self, row: Row) -> None:
        """Add the hash of a key to those that the store compares at the end."""
        self.hashes.append(hash(str(row.key)))
        if len(self.hashes) == _HASHES:
            self.flush()

    def flush(self) -> None:
        """Hand the hashes over."""
        self.store.note_keys(self.rows - len(self.hashes) + 1, self.hashes)
        self.hashes.clear()

    def packable(
        self, rows: Iterator[Row], rows_file: BinaryIO, rejected_file: BinaryIO
    ) -> Iterator[tuple[int, bytes]]:
        """The (row, params) pairs that fit into a body; the others are on file as rejected."""
        encode = msgspec.json.Encoder().encode
        limit, has_key = largest(self.templates.spec.batch.max_bytes), self.templates.spec.source.key is not None
        for row, params in requests(self.templates, rows):
            if self.stop.is_set():
                raise Interrupted("stopped before anything was sent")
            try:
                line = encode({"key": row.key, "row": row.fields}) + b"\n"
            except UnicodeEncodeError as error:
                raise InputError([Problem(row.path, "half of a surrogate pair is not text", row.line)]) from error
            rows_file.write(line)
            self.sha256.update(line)
            self.rows = row.number
            if has_key:
                self.note_key(row)
            if len(params) <= limit:
                yield row.number, params
                continue
            message = f"the request has {len(params):,} bytes, and batch.max_bytes leaves {limit:,} for one"
            line = rejected_line(f"{self.run.id}-0-0-{row.number}", message)
            self.rejected.append((row.number, rejected_file.tell(), len(line) - 1))
            rejected_file.write(line)


def prepare(
    spec: Spec,
    templates: Templates,
    store: Store,
    *,
    limit: int | None,
    stop: Event,
    report: Report,
    run_id: str | None = None,
) -> Run:
    """Read the source and write everything that the first round sends; the run is `prepared` at the end.

    It is a new run, unless `run_id` is that of one whose state is lost, and which stays `preparing`. Raises
    InputError for the first row that is wrong and for keys that repeat, and Interrupted if `stop` is set; the run
    is then forgotten.
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
    try:
        first = _First(templates, store, run, stop)
        _write(first, spec, store, read(spec.source, inputs, limit=limit), report)
        folder = store.folder(run)
        if spec.source.key is not None:
            first.flush()
            _check_keys(spec, store, folder)
        with replacing(folder.spec, private=True) as file:
            written = msgspec.json.encode(replace(start, inputs=inputs.files))
            file.write(written)
        with store.transaction():
            store.add_rejected(run, first.rejected)
            store.recount(run)
            digests = {
                "rows_sha256": first.sha256.hexdigest(),
                "spec_sha256": hashlib.sha256(written).hexdigest(),
            }
            # A run that is recovered has yet to be compared with what was sent.
            state = "prepared" if run_id is None else "preparing"
            return store.update(run, state=state, rows=first.rows, **digests)
    except BaseException:
        store.discard(run)
        raise


def _write(first: _First, spec: Spec, store: Store, rows: Iterator[Row], report: Report) -> None:
    folder = store.folder(first.run)
    with (
        replacing(folder.rows, private=True) as rows_file,
        replacing(folder.results(0, 0), private=True) as rejected_file,
    ):
        pairs = first.packable(rows, rows_file, rejected_file)
        for body in pack(pairs, run=first.run.id, round=1, folder=folder.bodies, **_limits(spec)):
            with store.transaction():
                store.add_batch(first.run, 1, body)
            report(f"{plural(first.rows, 'row')} read", summarize(store, replace(first.run, rows=first.rows)))
    sync_folder(folder.bodies)


def _limits(spec: Spec) -> dict[str, int]:
    return {"max_requests": spec.batch.max_requests, "max_bytes": spec.batch.max_bytes}


class _Key(msgspec.Struct):
    key: str | int


def _keys(folder: RunFolder) -> Iterator[str]:
    decode = msgspec.json.Decoder(_Key).decode
    with folder.rows.open("rb") as file:
        for line in file:
            yield str(decode(line).key)


def _check_keys(spec: Spec, store: Store, folder: RunFolder) -> None:
    pairs = store.repeated()
    wanted = {row for pair in pairs for row in pair}
    keys = {row: key for row, key in enumerate(_keys(folder), 1) if row in wanted} if wanted else {}
    repeated = [(first, second) for first, second in pairs if keys[first] == keys[second]]
    if not repeated:
        return
    places = _places(spec, {row for pair in repeated for row in pair})
    problems = []
    for first, second in repeated:
        path, line = places.get(second, (str(spec.source.options["path"]), 0))
        where = "{}:{}".format(*places[first]) if first in places else f"row {first}"
        message = f"{spec.source.key} {keys[second]!r} is the key of {where} already: keys must be unique"
        problems.append(Problem(path, message, line))
    raise InputError(problems)


def _places(spec: Spec, wanted: set[int]) -> dict[int, tuple[str, int]]:
    """Where rows stand, found by reading the source once more; standard input is gone by now."""
    if spec.source.options["path"] == "-":
        return {}
    rows = read(spec.source, Inputs(spec.root), limit=max(wanted))
    return {row.number: (row.path, row.line) for row in rows if row.number in wanted}


def prepare_again(job: Job, validate: Validate | None) -> bool:
    """Write the next round, of the rows that may be sent again; return whether there is one.

    Raises StateError if the files of the run do not agree that they may.
    """
    round = max((batch.round for batch in job.store.batches(job.run)), default=0) + 1
    if round > job.spec.retry.attempts or job.run.is_canceled or round == 1:
        return False
    folder = job.store.folder(job.run)
    with job.store.transaction(), pieces() as files:
        # The limit may have been lowered since; what fitted once must fit again.
        longest = max(batch.bytes for batch in job.store.batches(job.run)) + 64
        limits = {**_limits(job.spec), "max_bytes": max(job.spec.batch.max_bytes, longest)}
        bodies = 0
        for body in pack(
            _again(job, files, validate), run=job.run.id, round=round, folder=folder.bodies, **limits
        ):
            job.store.add_batch(job.run, round, body)
            bodies += 1
        job.store.recount(job.run)
        sync_folder(folder.bodies)
    return bodies > 0


def _again(job: Job, files: Pieces, validate: Validate | None) -> Iterator[tuple[int, bytes]]:
    """(row, params) of the rows to send again; their results are read again, so that no wrong bit pays twice."""
    folder = job.store.folder(job.run)
    is_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
    for row, round, batch, offset, size, result_offset, length in job.store.again(job.run):
        try:
            if result_offset is not None:
                line = files.read(folder.results(round, batch), result_offset, length or 0)
                if not read_line(line, validate).again:
                    raise ValueError("its result is final")
            params = files.read(folder.body(round, batch), offset, size)
            is_object(params)
        except (ValueError, OSError) as error:
            raise StateError(f"run {job.run.id}: row {row} cannot be sent again as recorded: {error}") from error
        yield row, params
