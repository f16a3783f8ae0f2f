"""Enforce the cost cap of a run.

A batch in progress counts with the upper bound of its cost, a collected batch with its actual cost.
"""

from collections.abc import Sequence

from runner.cost import rate_of
from runner.errors import CapReached
from runner.lifecycle.divide import divide
from runner.lifecycle.job import Job, name_of
from runner.store.records import Batch

# Stop at 5 %: otherwise ever smaller batches would nibble at the remaining budget for days.
_LEAST_SHARE = 0.05


def worst(job: Job, weights: Sequence[int], *, is_batched: bool) -> float | None:
    """Return the upper bound of the cost of these requests in US dollars, or None if no price is known."""
    rate = rate_of(job.spec)
    return None if rate is None else rate.worst(weights, is_batched=is_batched)


def _charge(job: Job, batch: Batch) -> float:
    if batch.state == "prepared":
        return 0.0
    if batch.cost is not None:
        return batch.cost
    if batch.reserved is None and batch.state != "collected":
        return worst(job, job.store.weights_of(batch), is_batched=batch.lane == "batch") or 0.0
    return batch.reserved or 0.0


def spent(job: Job) -> float:
    """Return the cost of a run so far in US dollars; batches in progress count with their upper bound."""
    return sum(_charge(job, batch) for batch in job.store.batches(job.run))


def reserve(job: Job, batch: Batch, lane: str, *, can_wait: bool) -> Batch | None:
    """Reserve the upper bound of a prepared batch's cost; return the batch, or None if it has to wait.

    A batch that does not fit under the cap waits if `can_wait`: batches in progress may cost less than reserved.
    Otherwise it is split, so that as many requests as fit become a batch of their own. Raises CapReached if not
    even one request fits, or if at most 5 % of the cap is left.
    """
    weights, is_batched = job.store.weights_of(batch), lane == "batch"
    most, cap = worst(job, weights, is_batched=is_batched), job.spec.limits.max_cost
    if cap is None or most is None:
        return job.store.move(batch, "prepared", lane=lane, reserved=most)
    room = cap - spent(job)
    if most <= room:
        return job.store.move(batch, "prepared", lane=lane, reserved=most)
    if can_wait:
        return None
    fits = _leading(job, weights, room, is_batched=is_batched) if room > cap * _LEAST_SHARE else 0
    if fits == 0:
        raise CapReached(
            f"the run is paused: it has cost up to ${cap - room:,.4f} of limits.max_cost ${cap:,.2f}, and "
            f"{name_of(batch)} can cost up to ${most:,.4f}. The finished rows are in the outputs; to continue, "
            "raise the cap and run the same command again"
        )
    requests = job.store.requests_of(batch)
    divide(job, batch, [requests[:fits], requests[fits:]])
    return None


def _leading(job: Job, weights: Sequence[int], room: float, *, is_batched: bool) -> int:
    """Return how many requests, counted from the first, fit into `room` US dollars."""
    rate = rate_of(job.spec)
    for count, weight in enumerate(weights):
        room -= rate.worst([weight], is_batched=is_batched) if rate is not None else 0.0
        if room < 0:
            return count
    return len(weights)
