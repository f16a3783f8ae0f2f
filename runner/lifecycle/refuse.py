"""A create that the API refuses: find the request that is meant, so that the others can go.

A refused batch is sent in parts, until the part is one request. That this one is at fault, and not something that
all requests have in common, is certain once another batch has been accepted since.
"""

import re
from collections.abc import Sequence

import msgspec

from runner.body import custom_id
from runner.durable import replacing
from runner.errors import Refused
from runner.lifecycle.divide import Request, divide
from runner.lifecycle.job import Job, name_of
from runner.outcome import rejected_line
from runner.store import Batch

# Pydantic's way of naming an item: `requests.17.params: Field required`.
_INDEX = re.compile(r"\brequests\.(\d+)\b")


def accepted(job: Job) -> int:
    """How many batches of a run the API has accepted."""
    return sum(batch.batch_id is not None for batch in job.store.batches(job.run))


def refuse(job: Job, batch: Batch, error: Refused) -> Batch:
    """Record what the API said to a prepared batch."""
    after = accepted(job) if batch.refused_after is None else batch.refused_after
    return job.store.move(batch, "prepared", refusal=str(error), refused_after=after)


def seek(job: Job, batch: Batch) -> bool:
    """Put parts in the place of a refused batch: the request that the refusal names and the others, or two halves.

    Returns whether it could be divided; a batch of one request cannot.
    """
    requests = job.store.requests_of(batch)
    if len(requests) < 2:
        return False
    divide(job, batch, _parts(requests, batch.refusal or ""))
    job.tell(f"{name_of(batch)}: was refused, and is sent in two parts to find the request that is meant")
    return True


def _parts(requests: Sequence[Request], refusal: str) -> list[Sequence[Request]]:
    named = _INDEX.search(refusal)
    index = int(named[1]) if named else len(requests)
    if index < len(requests):
        return [requests[index : index + 1], [*requests[:index], *requests[index + 1 :]]]
    # Of different sizes where that can be: a count tells a batch from others.
    half = max(1, (len(requests) - 1) // 2)
    return [requests[:half], requests[half:]]


def is_meant(job: Job, batch: Batch) -> bool:
    """Whether a refused batch of one request is itself at fault.

    Another was accepted since; or the API names the request, and has accepted others of this run.
    """
    if batch.requests != 1 or batch.refused_after is None:
        return False
    return accepted(job) > (0 if _INDEX.search(batch.refusal or "") else batch.refused_after)


def reject(job: Job, batch: Batch) -> None:
    """End the row of a refused batch of one request as rejected."""
    [row] = job.store.rows_of(batch)
    line = rejected_line(
        custom_id(job.run.id, batch.round, batch.batch, row), batch.refusal or "refused by the API"
    )
    with replacing(job.store.folder(job.run).results(batch.round, batch.batch), private=True) as file:
        file.write(line)
    usage = msgspec.json.encode({}).decode()
    job.store.collect(batch, [(row, "rejected", False, 0, len(line) - 1)], usage=usage)
    job.tell(f"{name_of(batch)}: row {row} is rejected: {batch.refusal}")


def blame(job: Job, batch: Batch) -> Refused:
    """What to say of a refused batch that keeps a run from its end."""
    rows = job.store.rows_of(batch)
    which = f"row {rows[0]:,}" if len(rows) == 1 else f"rows {rows[0]:,} to {rows[-1]:,}"
    return Refused(f"{name_of(batch)} ({which}) was refused, nothing of it was accepted: {batch.refusal}")
