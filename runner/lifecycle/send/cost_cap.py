"""Enforce the cost cap of a run.

A batch in progress counts with the upper bound of its cost, a collected batch with its actual cost. Creates that
may have been paid besides count with their upper bound too (`doubted_cost`).
"""

from collections.abc import Sequence

from runner.errors import CostCapReached
from runner.lifecycle.plan.cap_effect import MIN_SHARE_TO_SPLIT
from runner.lifecycle.prepare.split_batch import split_batch
from runner.pricing.rates import format_cap, round_up_cost
from runner.runs.context import RunContext, batch_label
from runner.runs.shared_cap import find_other_runs_under_cap
from runner.store.records import Batch, Run
from runner.store.run_batches import IN_FLIGHT


def batch_cost_upper_bound(context: RunContext, batch: Batch) -> float:
    """Return an upper bound of the cost of a batch by the sizes of its requests; 0 without a known price."""
    sizes = context.store.row_index.request_sizes_of(batch)
    return context.cost_upper_bound(sizes, is_batched=batch.send_mode == "batch") or 0.0


def committed_cost(context: RunContext) -> float:
    """Return the cost so far, in US dollars, of a run and of those that share its cap.

    Batches in progress count with their upper bound.
    """
    batches = context.store.run_batches(context.run)
    own = batches.committed_cost + sum(_unreserved_cost(context, one) for one in batches.in_group("unreserved"))
    return own + sum(context.store.run_batches(run).committed_cost for run in _find_others(context))


def _find_others(context: RunContext) -> list[Run]:
    return find_other_runs_under_cap(context.store, context.spec, context.run)


def _unreserved_cost(context: RunContext, batch: Batch) -> float:
    """Return what a batch that was not sent, as far as the state knows, can cost besides its doubted cost.

    If it is paid at all, then by a create that may be in doubt already.
    """
    return max(0.0, batch_cost_upper_bound(context, batch) - batch.doubted_cost)


def reserve_cost(context: RunContext, batch: Batch, send_mode: str, *, can_wait: bool) -> Batch | None:
    """Reserve the upper bound of a prepared batch's cost; return the batch, or None if it has to wait.

    A batch that does not fit under the cap waits if `can_wait`: batches in progress may cost less than
    reserved. Otherwise it is split, so that as many requests as fit become a batch of their own. Raises
    CostCapReached if not even one request fits, or if at most 5 % of the cap is left.
    """
    sizes, is_batched = context.store.row_index.request_sizes_of(batch), send_mode == "batch"
    upper_bound = context.cost_upper_bound(sizes, is_batched=is_batched)
    cap = context.spec.limits.max_cost
    if cap is None or upper_bound is None:
        return context.store.transition(batch, "prepared", send_mode=send_mode, reserved_cost=upper_bound)
    remaining = cap - committed_cost(context)
    if upper_bound <= remaining:
        return context.store.transition(batch, "prepared", send_mode=send_mode, reserved_cost=upper_bound)
    if can_wait:
        return None
    fits = (
        _count_that_fits(context, sizes, remaining, is_batched=is_batched)
        if remaining > cap * MIN_SHARE_TO_SPLIT
        else 0
    )
    if fits == 0:
        raise CostCapReached(
            f"the run is paused: {_describe_spender(context)} cost up to ${cap - remaining:,.4f} of "
            f"limits.max_cost {format_cap(cap)}"
            f"{_doubt_message(context)}, and "
            f"{batch_label(batch)} can cost up to ${upper_bound:,.4f}. The finished rows are in "
            f"the outputs; to continue, {_describe_remedy(context, is_batched=is_batched)}"
        )
    requests = context.store.row_index.requests_of(batch)
    split_batch(context, batch, [requests[:fits], requests[fits:]])
    return None


def has_other_in_flight(context: RunContext) -> bool:
    """Return whether another run under the cap has batches whose cost is not known yet."""
    return any(context.store.run_batches(run).count(*IN_FLIGHT) for run in _find_others(context))


def _describe_spender(context: RunContext) -> str:
    if context.spec.variants:
        return "all variants together have"
    return "it and its pilot have" if _find_others(context) else "it has"


def _describe_remedy(context: RunContext, *, is_batched: bool) -> str:
    if has_other_in_flight(context):
        return (
            "run all variants, which waits until those in progress have ended and cost less than they can, or "
            "raise the cap"
        )
    amounts = "" if context.spec.variants else _describe_enough(context, is_batched=is_batched)
    return f"raise the cap{amounts} and run the same command again"


def _describe_enough(context: RunContext, *, is_batched: bool) -> str:
    """Return which cap will likely be enough for the rest of a run, and which one is certainly."""
    batches = context.store.run_batches(context.run)
    bounds, highest = 0.0, 0.0
    for batch in batches.in_state("prepared"):
        sizes = context.store.row_index.request_sizes_of(batch)
        bounds += context.cost_upper_bound(sizes, is_batched=is_batched) or 0.0
        highest = max(highest, context.cost_upper_bound([max(sizes)], is_batched=is_batched) or 0.0)
    committed, each = committed_cost(context), _find_cost_per_request(context)
    sure = round_up_cost(committed + bounds)
    is_sure = f"${sure:,.4f} is enough in any case, unless rows are sent again"
    if each is None:
        return f" ({is_sure})"
    # The last request must fit with the most that it can cost, and no batch is split for the last part of a cap.
    expected = committed + batches.count_requests("prepared") * each + highest
    likely = min(round_up_cost(expected / (1 - MIN_SHARE_TO_SPLIT)), sure)
    return f" to about ${likely:,.4f} ({is_sure})"


def _find_cost_per_request(context: RunContext) -> float | None:
    """Return the mean cost of the answers of a run so far, or else that of its estimate; None without a price."""
    batches, estimated = context.store.run_batches(context.run), context.run.estimated_cost
    answered = batches.count_requests("collected")
    if answered and batches.totals.cost is not None:
        return batches.totals.cost / answered
    requests = sum(one.requests for one in batches if one.round == 1)
    return None if estimated is None or not requests else estimated / requests


def _doubt_message(context: RunContext) -> str:
    doubted = sum(one.doubted_cost for one in context.store.run_batches(context.run))
    return f" (${doubted:,.4f} of it for batches that may have been paid twice)" if doubted else ""


def _count_that_fits(context: RunContext, sizes: Sequence[int], room: float, *, is_batched: bool) -> int:
    """Return how many requests, counted from the first, fit into `remaining` US dollars."""
    rate = context.rate
    for count, weight in enumerate(sizes):
        room -= rate.cost_upper_bound([weight], is_batched=is_batched) if rate is not None else 0.0
        if room < 0:
            return count
    return len(sizes)
