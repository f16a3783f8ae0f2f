"""The results of an ended batch: downloaded whole, held against what was sent, and turned into outcomes."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from runner.api import Api
from runner.durable import replacing
from runner.errors import Incomplete
from runner.lifecycle.job import Job, name_of
from runner.outcome import Usage, Validate, read, tokens
from runner.request import custom_id, row_of
from runner.store import Batch


@dataclass(slots=True)
class _Found:
    """What one results file holds: by row, the outcome, whether to send again, offset and length of the line."""

    rows: dict[int, tuple[str, bool, int, int]] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    malformed: int = 0
    foreign: int = 0
    repeated: int = 0


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Each line with its offset. Lines end at a line feed only: JSON text may hold U+2028 and its like."""
    offset = 0
    with path.open("rb") as file:
        for line in file:
            yield offset, line
            offset += len(line)


def _read(
    path: Path, *, prefix: str, expected: set[int], retry_on: tuple[str, ...], validate: Validate | None
) -> _Found:
    found = _Found()
    for offset, line in _lines(path):
        try:
            outcome = read(line, validate)
        except ValueError:
            found.malformed += 1
            continue
        row = row_of(outcome.custom_id, prefix=prefix)
        if row is None or row not in expected:
            found.foreign += 1
        elif row in found.rows:
            found.repeated += 1
        else:
            again = outcome.again and outcome.outcome in retry_on
            found.rows[row] = (outcome.outcome, again, offset, len(line.rstrip(b"\r\n")))
            if outcome.usage is not None:
                found.usage.add(tokens(outcome.usage))
    return found


def collect(job: Job, api: Api, batch: Batch, validate: Validate | None, *, is_last_try: bool) -> Batch:
    """Download and read the results of an ended batch.

    Returns it collected, every row with its outcome. Raises Incomplete if results are missing; on the last try the
    rows without one are `missing` instead, if the download is otherwise a sound one.
    """
    path = job.store.folder(job.run).results(batch.round, batch.batch)
    with replacing(path) as file:
        file.writelines(api.results(batch.batch_id or ""))
    expected = set(job.store.rows_of(batch))
    prefix = custom_id(job.run.id, batch.round, batch.batch, 0)[:-1]
    found = _read(path, prefix=prefix, expected=expected, retry_on=job.spec.retry.on, validate=validate)
    counted = sum(msgspec.json.decode(batch.counts, type=dict[str, int]).values())
    total = max(len(expected), counted)
    is_plausible = is_last_try and found.rows and not found.malformed
    if len(found.rows) < total and not is_plausible:
        raise Incomplete(f"{total - len(found.rows):,} of {total:,} results are missing from the download")
    return _record(job, batch, expected, found)


def _record(job: Job, batch: Batch, expected: set[int], found: _Found) -> Batch:
    is_missing_retried = "missing" in job.spec.retry.on
    absent = ("missing", is_missing_retried, None, None)
    rows = sorted(expected)
    outcomes = ((row, *found.rows.get(row, absent)) for row in rows)
    usage = msgspec.json.encode(found.usage).decode()
    batch = job.store.collect(batch, outcomes, usage=usage)
    odd = {"malformed": found.malformed, "foreign": found.foreign, "repeated": found.repeated}
    notes = [
        f"{len(found.rows):,} results",
        *(f"{count:,} {kind} lines" for kind, count in odd.items() if count),
    ]
    if missing := len(expected) - len(found.rows):
        notes.append(f"{missing:,} missing")
    job.tell(f"{name_of(batch)}: collected {', '.join(notes)}")
    return batch
