"""The cap of a run: what is under way counts with the most it can cost, what is collected with what it did."""

from collections.abc import Sequence

from runner.cost import rate_of
from runner.errors import CapReached
from runner.lifecycle.divide import divide
from runner.lifecycle.job import Job, name_of
from runner.store import Batch

# Ever smaller batches would use the last cents up, one after the other, for days.
_LEAST_SHARE = 0.05


def worst(job: Job, weights: Sequence[int], *, is_batched: bool) -> float | None:
    """The most that requests of these weights can cost, in US dollars, or None if no price is known."""
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
    """What a run has cost so far, at the most, in US dollars."""
    return sum(_charge(job, batch) for batch in job.store.batches(job.run))


def reserve(job: Job, batch: Batch, lane: str, *, can_wait: bool) -> Batch | None:
    """Set aside the most that a prepared batch can cost, and return it; None if it has to wait.

    What does not fit under the cap waits if it can: if others are under way, which may turn out cheaper. Else as
    much of it as fits becomes a batch of its own. Raises CapReached if next to nothing would.
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
            f"{name_of(batch)} can cost ${most:,.4f}. What is done is in the outputs; with a higher cap the same "
            "command goes on"
        )
    requests = job.store.requests_of(batch)
    divide(job, batch, [requests[:fits], requests[fits:]])
    return None


def _leading(job: Job, weights: Sequence[int], room: float, *, is_batched: bool) -> int:
    """How many of the first requests fit into so many dollars."""
    rate = rate_of(job.spec)
    for count, weight in enumerate(weights):
        room -= rate.worst([weight], is_batched=is_batched) if rate is not None else 0.0
        if room < 0:
            return count
    return len(weights)
