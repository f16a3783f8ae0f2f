"""Find how many batches a cost cap lets be in progress at once."""

import sys
from dataclasses import replace

from runner.pricing.rates import Rate, round_up_cost
from runner.runs.context import RunContext
from runner.runs.shared_cap import find_other_runs_under_cap
from runner.store.store import Store
from runner.text import pluralize


def describe_cap_effect(context: RunContext, rate: Rate | None, previous_store: Store, *, is_batched: bool) -> str:
    """Return how `limits.max_cost` holds batches back, or an empty text if all can be in progress at once.

    Each counts with the most that it can cost until its results show what it has cost (see `send.cost_cap`). The
    pilot before the run, in `previous_store`, has spent its part of the cap.
    """
    cap = context.spec.limits.max_cost
    if cap is None or rate is None:
        return ""
    spent = _sum_cost_of_pilots(context, previous_store)
    used = f"the pilot has cost ${round_up_cost(spent):,.4f} of the cap" if spent else ""
    held = _describe_hold(context, rate, cap - spent, is_batched=is_batched)
    return "; ".join(part for part in (used, held) if part)


def _sum_cost_of_pilots(context: RunContext, previous_store: Store) -> float:
    """Return the cost, in US dollars, of the pilots that share the cap of a run that is planned."""
    newest = replace(context.run, number=sys.maxsize)
    runs = find_other_runs_under_cap(previous_store, context.spec, newest)
    return sum(previous_store.run_batches(run).committed_cost for run in runs if run.is_pilot)


def _describe_hold(context: RunContext, rate: Rate, left: float, *, is_batched: bool) -> str:
    """Return how batches are held back if so many US dollars are left."""
    sizes, batches = context.store.row_index.request_sizes_of, context.store.batches(context.run)
    bounds = [rate.cost_upper_bound(sizes(batch), is_batched=is_batched) for batch in batches]
    at_once = 0
    for bound in bounds:
        left -= bound
        at_once += left >= 0
    if at_once == len(bounds):
        return ""
    if at_once == 0:
        return "the cap is less than a batch can cost, so batches are split, and sent one after another"
    fits = f"only {at_once:,} of {pluralize(len(bounds), 'batch')} can be in progress at once"
    return f"the cap counts each batch with the most that it can cost, so {fits}, and the others wait"
