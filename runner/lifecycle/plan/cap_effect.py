"""Simulate how a cost cap holds batches back: only as many are in progress as it lets at once."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from runner.pricing.rates import rate_for_spec, round_up_cost
from runner.runs.context import RunContext
from runner.runs.shared_cap import SpentOfCap
from runner.text import pluralize

MIN_SHARE_TO_SPLIT = 0.05
"""The share of a cap that must be left for a batch to be split: ever smaller ones would nibble at it for days."""

_CACHE_TTLS = {"batch": None, "batch_cache_5m": "5m", "batch_cache_1h": "1h", "batch_warm_1h": "1h"}


@dataclass(frozen=True, slots=True)
class CapWaves:
    """The waves in which a cap lets batches be sent: each once the batches of the one before have ended.

    `at_once` of all `batches` are in the first wave; if it is 0, not even one fits, and they are split. `sent` has
    the number of requests up to each wave. `unsent` requests do not fit at all. `upper_bound` is the most that all
    can cost, in US dollars.
    """

    batches: int
    at_once: int
    sent: tuple[int, ...]
    unsent: int
    upper_bound: float

    @property
    def count(self) -> int:
        """The number of waves."""
        return len(self.sent)


def simulate_waves(
    batches: Iterable[tuple[int, float]], *, left: float, least: float, expected: float
) -> CapWaves:
    """Return the waves in which batches are sent if so many US dollars are `left` of the cap.

    `batches` are their requests, and the most that they can cost. That is how they count until they have ended,
    and then with the `expected` cost of each request. None is split once no more than `least` US dollars are left.
    """
    waiting = deque(batches)
    count, upper_bound = len(waiting), sum(bound for _, bound in waiting)
    at_once, sent = list[int](), list[int]()
    while waiting:
        fitting = _take_fitting(waiting, left)
        at_once.append(len(fitting))
        requests = sum(fitting) or (_split_first(waiting, left) if left > least else 0)
        if not requests:
            break
        sent.append(requests + (sent[-1] if sent else 0))
        left -= requests * expected
    unsent = sum(requests for requests, _ in waiting)
    return CapWaves(count, at_once[0] if at_once else 0, tuple(sent), unsent, upper_bound)


def _take_fitting(waiting: deque[tuple[int, float]], left: float) -> list[int]:
    """Remove the first batches that fit together; return the requests of each."""
    fitting = list[int]()
    while waiting and waiting[0][1] <= left:
        requests, bound = waiting.popleft()
        left -= bound
        fitting.append(requests)
    return fitting


def _split_first(waiting: deque[tuple[int, float]], left: float) -> int:
    """Take as many requests as fit from the first batch; return their number."""
    requests, bound = waiting.popleft()
    fits = min(int(left / bound * requests), requests - 1)
    waiting.appendleft((requests - fits, bound * (requests - fits) / requests))
    return fits


def simulate_ways(context: RunContext, costs: Mapping[str, float] | None, left: float) -> dict[str, CapWaves]:
    """Return the waves of a prepared run for each way to send it in batches; none without a cap or a price.

    `costs` are those expected of the ways, and `left` the US dollars that are left of the cap.
    """
    cap, bounds = context.spec.limits.max_cost, dict[str | None, list[tuple[int, float]]]()
    if cap is None or costs is None:
        return {}
    rates = {ttl: rate_for_spec(context.spec, ttl) for ttl in _CACHE_TTLS.values()}
    # The batch that warms a cache is sent before the waves, and is a part of the others without a cache.
    for batch in (one for one in context.store.batches(context.run) if not one.is_warmup):
        sizes = context.store.row_index.request_sizes_of(batch)
        for ttl, rate in rates.items():
            bound = 0.0 if rate is None else rate.cost_upper_bound(sizes, is_batched=True)
            bounds.setdefault(ttl, []).append((batch.requests, bound))
    requests = max(context.store.count_new_requests(context.run), 1)
    return {
        way: simulate_waves(
            bounds.get(ttl, ()), left=left, least=cap * MIN_SHARE_TO_SPLIT, expected=costs[way] / requests
        )
        for way, ttl in _CACHE_TTLS.items()
    }


def describe_cap_effect(spent: SpentOfCap, waves: CapWaves | None) -> str:
    """Return what is spent of a cap before a run, and how the rest holds its batches back; empty if neither.

    `waves` is None if batches are not in progress at the same time. Each counts with the most that it can cost
    until its results show what it has cost (see `send.cost_cap`).
    """
    costs = {"the pilot has": spent.pilots, "other variants have": spent.variants}
    up_to = "up to " if spent.is_upper_bound else ""
    used = [f"{who} cost {up_to}${round_up_cost(cost):,.4f} of the cap" for who, cost in costs.items() if cost]
    held = [] if waves is None or waves.at_once == waves.batches else [_describe_hold(waves, is_rest=bool(used))]
    return "; ".join([*used, *held])


def _describe_hold(waves: CapWaves, *, is_rest: bool) -> str:
    cap = "what is left of the cap" if is_rest else "the cap"
    if not waves.count:
        return f"{cap} is less than a request can cost, so nothing is sent"
    if waves.at_once == 0:
        text = (
            f"{cap} is less than a batch can cost, so batches are split, and sent one after another in about "
            f"{pluralize(waves.count, 'step')}"
        )
    else:
        fits = f"only {waves.at_once:,} of {pluralize(waves.batches, 'batch')} can be in progress at once"
        text = (
            f"the cap counts each batch with the most that it can cost, so {fits}, and the others wait: about "
            f"{pluralize(waves.count, 'wave')}"
        )
    return text + (f"; then {pluralize(waves.unsent, 'request')} will not fit" if waves.unsent else "")
