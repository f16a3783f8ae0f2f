"""Find how many batches a cost cap lets be in progress at once."""

from runner.pricing.rates import Rate
from runner.runs.context import RunContext
from runner.text import pluralize


def describe_cap_effect(context: RunContext, rate: Rate | None, *, is_batched: bool) -> str:
    """Return how `limits.max_cost` holds batches back, or an empty text if all can be in progress at once.

    Each counts with the most that it can cost until its results show what it has cost (see `send.cost_cap`).
    """
    cap, batches = context.spec.limits.max_cost, context.store.batches(context.run)
    if cap is None or rate is None:
        return ""
    sizes = context.store.row_index.request_sizes_of
    bounds = [rate.cost_upper_bound(sizes(batch), is_batched=is_batched) for batch in batches]
    at_once, left = 0, cap
    for bound in bounds:
        left -= bound
        at_once += left >= 0
    if at_once == len(bounds):
        return ""
    if at_once == 0:
        return "the cap is less than a batch can cost, so batches are split, and sent one after another"
    fits = f"only {at_once:,} of {pluralize(len(bounds), 'batch')} can be in progress at once"
    return f"the cap counts each batch with the most that it can cost, so {fits}, and the others wait"
