"""Collect an ended batch: download its results, compare them with its requests, record outcomes."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from runner.api import Api
from runner.body import custom_id, row_of
from runner.cost import Rate, rate_of
from runner.durable import replacing
from runner.errors import Incomplete
from runner.form import Form
from runner.lifecycle.budget import worst
from runner.lifecycle.job import Job, decoded, name_of, plural
from runner.lifecycle.rows import rows_of
from runner.outcome import NO_ANSWER, PAUSED, Usage, read, tokens
from runner.store.folder import pieces
from runner.store.records import Batch
from runner.store.state import WHATEVER_ATTEMPTS


@dataclass(slots=True)
class _Found:
    """Contents of one results file.

    `rows` holds by row: the outcome, whether to send the row again, and the offset and length of its line in
    bytes. `odd` counts unusable lines by kind. `cost` is the cost of the answers in US dollars, and `synchronous`
    what they would have cost synchronously. `lost` holds the rows that may have been paid for without an answer.
    """

    rows: dict[int, tuple[str, int, int, int]] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    odd: dict[str, int] = field(default_factory=dict)
    cost: float = 0.0
    synchronous: float = 0.0
    lost: list[int] = field(default_factory=list)

    def charge(self, usage: Usage, rate: Rate | None, *, is_batched: bool) -> None:
        """Add the usage and cost of one answer."""
        self.usage.add(usage)
        if rate is not None:
            synchronous = rate.synchronous(usage)
            self.cost += rate.discounted(synchronous, usage) if is_batched else synchronous
            self.synchronous += synchronous

    def note(self, kind: str) -> None:
        """Count an unusable line."""
        self.odd[kind] = self.odd.get(kind, 0) + 1


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield each line with its offset.

    Only a line feed ends a line, because JSON text may contain U+2028 and similar characters.
    """
    offset = 0
    with path.open("rb") as file:
        for line in file:
            yield offset, line
            offset += len(line)


def _read(
    path: Path,
    *,
    prefix: str,
    expected: set[int],
    retry_on: tuple[str, ...],
    form: Form,
    rate: Rate | None = None,
    is_batched: bool = True,
    sends_canceled: bool = False,
    goes_on: bool = False,
) -> _Found:
    found = _Found()
    for offset, line in _lines(path):
        try:
            outcome = read(line, form)
        except ValueError:
            found.note("malformed" if line.strip() else "blank")
            continue
        row = row_of(outcome.custom_id, prefix=prefix)
        if row is None or row not in expected:
            found.note("foreign")
        elif row in found.rows:
            first = _line(path, *found.rows[row][2:])
            found.note("repeated" if first == line.rstrip(b"\r\n") else "contradicting")
        else:
            again = int(outcome.again and outcome.outcome in retry_on)
            is_paused = goes_on and outcome.stop_reason == PAUSED
            if is_paused or (sends_canceled and outcome.outcome in ("canceled", "expired")):
                again = WHATEVER_ATTEMPTS
            if outcome.error is not None and outcome.error["type"] == NO_ANSWER:
                found.lost.append(row)
            found.rows[row] = (outcome.outcome, again, offset, len(line.rstrip(b"\r\n")))
            if outcome.usage is not None:
                found.charge(tokens(outcome.usage), rate, is_batched=is_batched)
    return found


def _line(path: Path, offset: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(length)


def collect(
    job: Job,
    api: Api,
    batch: Batch,
    form: Form,
    *,
    is_last_try: bool,
    accept_loss: bool,
    sends_canceled: bool,
) -> Batch:
    """Download and read the results of an ended batch; a synchronous batch has them on disk already.

    With `sends_canceled`, canceled and expired rows are sent again, however often they were sent before. Returns
    the collected batch, in which every row has its outcome. If the user chose the wrong remote batch, so that all
    results are someone else's, the batch returned is submitting again.

    Raises Incomplete if results are missing. On the last try, rows without a result become `missing` instead, if
    the download seems intact or `accept_loss` is set. In a synchronous batch they do so at once.
    """
    path, is_batched = job.store.folder(job.run).results(batch.round, batch.batch), batch.lane == "batch"
    sha256 = _download(api, batch, path) if is_batched else _digest(path)
    expected = set(job.store.rows_of(batch))
    found = _read(
        path,
        prefix=custom_id(job.run.id, batch.round, batch.batch, 0)[:-1],
        expected=expected,
        retry_on=job.spec.retry.on,
        form=form,
        rate=rate_of(job.spec),
        is_batched=is_batched,
        sends_canceled=sends_canceled,
        goes_on=batch.round < job.spec.retry.max_rounds,
    )
    if form.checks:
        _check(job, path, found, form)
    counted = sum(decoded(batch.counts, dict[str, int]).values())
    total = max(len(expected), counted)
    is_foreign = "foreign" in found.odd
    if is_foreign and not found.rows and batch.unknown_at is not None:
        return _unbind(job, batch)
    is_sound = accept_loss or not is_batched or not (is_foreign or "malformed" in found.odd)
    if len(found.rows) < total and not ((is_last_try or not is_batched) and is_sound):
        raise Incomplete(f"{total - len(found.rows):,} of {total:,} results are missing from the download")
    return _record(job, batch, expected, found, sha256)


def _check(job: Job, path: Path, found: _Found, form: Form) -> None:
    """Run the checks on valid outputs, in row order: the checks see the rows, which are read in order."""
    retries = int("invalid" in job.spec.retry.on)
    with pieces() as files, rows_of(job) as rows:
        for row, (outcome, _, offset, length) in sorted(found.rows.items()):
            if outcome == "succeeded":
                again = read(files.read(path, offset, length), form, rows.fields(row)).outcome
                if again != outcome:
                    found.rows[row] = (again, retries, offset, length)


def _download(api: Api, batch: Batch, path: Path) -> str:
    """Download the results of a batch to a file, and return its SHA-256."""
    sha256 = hashlib.sha256()
    with replacing(path, private=True) as file:
        for block in api.results(batch.batch_id or ""):
            file.write(block)
            sha256.update(block)
    return sha256.hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _record(job: Job, batch: Batch, expected: set[int], found: _Found, sha256: str) -> Batch:
    is_missing_retried = "missing" in job.spec.retry.on
    absent = ("missing", int(is_missing_retried), None, None)
    # A request that may have been paid for without an answer counts with the upper bound of its cost.
    unanswered = (expected - found.rows.keys()) | set(found.lost)
    if unanswered:
        weights = zip(job.store.rows_of(batch), job.store.weights_of(batch), strict=True)
        lost = [weight for row, weight in weights if row in unanswered]
        found.cost += worst(job, lost, is_batched=batch.lane == "batch") or 0.0
    rows = sorted(expected)
    outcomes = ((row, *found.rows.get(row, absent)) for row in rows)
    columns = {
        "usage": msgspec.json.encode(found.usage).decode(),
        "odd": msgspec.json.encode(found.odd).decode(),
        "faulty_since": None,
        "results_sha256": sha256,
        **({} if rate_of(job.spec) is None else {"cost": found.cost, "synchronous": found.synchronous}),
    }
    batch = job.store.collect(batch, outcomes, **columns)
    notes = [f"{len(found.rows):,} results", *(f"{count:,} {kind} lines" for kind, count in found.odd.items())]
    if missing := len(expected) - len(found.rows):
        notes.append(f"{missing:,} missing")
    job.tell(f"{name_of(batch)}: collected {', '.join(notes)}")
    return batch


def _unbind(job: Job, batch: Batch) -> Batch:
    """Search again for a batch that was bound to a remote batch with someone else's results."""
    path = job.store.folder(job.run).results(batch.round, batch.batch)
    with job.store.transaction():
        job.store.exclude(batch, batch.batch_id or "")
        unbound = job.store.move(
            batch, "submitting", batch_id=None, created_at=None, ended_at=None, unknown_at=None, counts="{}"
        )
    path.unlink(missing_ok=True)
    job.tell(f"{name_of(batch)}: {batch.batch_id} contains someone else's results; still searching")
    return unbound


def give_up(job: Job, batch: Batch) -> None:
    """End the rows of a batch whose results are lost as `missing`; they are not sent and paid for again."""
    job.store.collect(batch, ((row, "missing", False, None, None) for row in job.store.rows_of(batch)))
    job.tell(f"{name_of(batch)}: results lost; {plural(batch.requests, 'row')} recorded as missing")
