"""Bisect a batch that the API rejected until the invalid request is found; the others can be sent.

A rejected batch is split until a part is a single request. This request is certain to be the culprit once the API
has accepted another batch since. Until then, the cause may be something that all requests have in common.
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
from runner.store.records import Batch

# Pydantic's way of naming an item: `requests.17.params: Field required`.
_INDEX = re.compile(r"\brequests\.(\d+)\b")


def accepted(job: Job) -> int:
    """Return the number of batches of a run that the API has accepted."""
    return sum(batch.batch_id is not None for batch in job.store.batches(job.run))


def refuse(job: Job, batch: Batch, error: Refused) -> Batch:
    """Record why the API rejected a prepared batch."""
    after = accepted(job) if batch.refused_after is None else batch.refused_after
    return job.store.move(batch, "prepared", refusal=str(error), refused_after=after)


def seek(job: Job, batch: Batch) -> bool:
    """Split a rejected batch into the request that the API named and the others, or into two halves.

    Returns False for a batch of one request, which cannot be split.
    """
    requests = job.store.requests_of(batch)
    if len(requests) < 2:
        return False
    divide(job, batch, _parts(requests, batch.refusal or ""))
    job.tell(f"{name_of(batch)}: rejected by the API; splitting it in two to find the invalid request")
    return True


def _parts(requests: Sequence[Request], refusal: str) -> list[Sequence[Request]]:
    named = _INDEX.search(refusal)
    index = int(named[1]) if named else len(requests)
    if index < len(requests):
        return [requests[index : index + 1], [*requests[:index], *requests[index + 1 :]]]
    # Different sizes if possible: the request count helps to identify a remote batch.
    half = max(1, (len(requests) - 1) // 2)
    return [requests[:half], requests[half:]]


def is_meant(job: Job, batch: Batch) -> bool:
    """Return whether this single-request batch is the culprit.

    It is the culprit if the API has accepted another batch since. If the API named the request, any accepted batch
    of this run is enough.
    """
    if batch.requests != 1 or batch.refused_after is None:
        return False
    return accepted(job) > (0 if _INDEX.search(batch.refusal or "") else batch.refused_after)


def reject(job: Job, batch: Batch) -> None:
    """Give the row of a rejected single-request batch its final outcome, `rejected`."""
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
    """Return the error for a rejected batch that blocks the end of a run."""
    rows = job.store.rows_of(batch)
    which = f"row {rows[0]:,}" if len(rows) == 1 else f"rows {rows[0]:,} to {rows[-1]:,}"
    return Refused(f"{name_of(batch)} ({which}) was rejected by the API as a whole: {batch.refusal}")
