"""Bisect a batch that the API rejected until the invalid request is found; the others can be sent.

A rejected batch is split until a part is a single request. This request is certain to be the culprit once the API
has accepted another batch since. Until then, the cause may be something that all requests have in common.
"""

import re
from collections.abc import Sequence

import msgspec

from runner.errors import RequestRejected
from runner.files.atomic import atomic_write
from runner.lifecycle.prepare.split_batch import RequestLocation, split_batch
from runner.requests.custom_id import make_custom_id
from runner.results.outcome import make_rejected_line
from runner.runs.context import RunContext, batch_label
from runner.store.records import Batch

# Pydantic's way of naming an item: `requests.17.params: Field required`.
_REQUEST_INDEX = re.compile(r"\brequests\.(\d+)\b")


def count_accepted_batches(context: RunContext) -> int:
    """Return the number of batches of a run that the API has accepted."""
    return context.store.run_batches(context.run).totals.accepted


def record_rejection(context: RunContext, batch: Batch, error: RequestRejected) -> Batch:
    """Record why the API rejected a prepared batch."""
    after = (
        count_accepted_batches(context)
        if batch.accepted_before_rejection is None
        else batch.accepted_before_rejection
    )
    return context.store.transition(batch, "prepared", rejection=str(error), accepted_before_rejection=after)


def bisect_batch(context: RunContext, batch: Batch) -> None:
    """Split a rejected batch into the request that the API named and the others, or into two halves.

    The batch must have more than one request.
    """
    requests = context.store.row_index.requests_of(batch)
    split_batch(context, batch, _split_requests(requests, batch.rejection or ""))
    line = "rejected by the API; splitting it in two to find the invalid request"
    context.report("rejected", line, batch)


def _split_requests(requests: Sequence[RequestLocation], refusal: str) -> list[Sequence[RequestLocation]]:
    named = _REQUEST_INDEX.search(refusal)
    index = int(named[1]) if named else len(requests)
    if index < len(requests):
        return [requests[index : index + 1], [*requests[:index], *requests[index + 1 :]]]
    # Different sizes if possible: the request count helps to identify a remote batch.
    half = max(1, (len(requests) - 1) // 2)
    return [requests[:half], requests[half:]]


def is_culprit(context: RunContext, batch: Batch) -> bool:
    """Return whether this single-request batch is the culprit.

    It is the culprit if the API has accepted another batch since. If the API named the request, any accepted batch
    of this run is enough.
    """
    if batch.requests != 1 or batch.accepted_before_rejection is None:
        return False
    return count_accepted_batches(context) > (
        0 if _REQUEST_INDEX.search(batch.rejection or "") else batch.accepted_before_rejection
    )


def reject_row(context: RunContext, batch: Batch) -> None:
    """Give the row of a rejected single-request batch its final outcome, `rejected`."""
    [row] = context.store.row_index.rows_of(batch)
    line = make_rejected_line(
        make_custom_id(context.run.id, batch.round, batch.batch, row), batch.rejection or "refused by the API"
    )
    path = context.store.folder(context.run).to_write.results(batch.round, batch.batch)
    with atomic_write(path, private=True) as file:
        file.write(line)
    usage = msgspec.json.encode({}).decode()
    outcomes = [(row, "rejected", False, 0, len(line) - 1)]
    context.store.collect_batch(batch, outcomes, usage=usage, reserved_cost=None)
    context.report("rejected", f"row {row} is rejected: {batch.rejection}", batch)


def rejected_batch_error(context: RunContext, batch: Batch) -> RequestRejected:
    """Return the error for a rejected batch that blocks the end of a run."""
    rows = context.store.row_index.rows_of(batch)
    which = f"row {rows[0]:,}" if len(rows) == 1 else f"rows {rows[0]:,} to {rows[-1]:,}"
    return RequestRejected(f"{batch_label(batch)} ({which}) was rejected by the API as a whole: {batch.rejection}")
