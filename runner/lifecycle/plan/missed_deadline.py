"""Say that a run will miss its deadline, and what would meet it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from runner.lifecycle.plan.send_mode import find_forced_mode
from runner.lifecycle.plan.speed import describe_span
from runner.lifecycle.plan.ways import Way, Workload, chosen_way
from runner.pricing.models import load_catalogue
from runner.pricing.rates import format_dollars
from runner.text import pluralize

_MAX_CONCURRENCY = 100  # as in schema.json


@dataclass(frozen=True, slots=True)
class _Option:
    """One mode that a run could use, now or with `mode: auto`; `seconds` are compared with the deadline.

    They would be `uncapped_seconds` if the cap was raised by so much that `needed` US dollars were left of it.
    """

    mode: str
    seconds: float
    cost: float | None
    is_own: bool
    is_affordable: bool
    uncapped_seconds: float
    needed: float

    @property
    def seconds_if_paid(self) -> float:
        return self.seconds if self.is_affordable else self.uncapped_seconds

    @property
    def condition(self) -> str:
        return "" if self.is_own else " with `mode: auto`"


def describe_missed_deadline(work: Workload, mode: str, ways: tuple[Way, ...]) -> str | None:
    """Say that a run misses its deadline and what would meet it; return None if it does not."""
    deadline = work.spec.deadline
    if deadline is None or not work.requests or chosen_way(work, mode, ways).meets_deadline:
        return None
    options = list(_list_options(work, ways))
    is_capped = not all(option.is_affordable for option in options)
    note = ""
    if is_capped:
        left = format_dollars(max(work.budget, 0.0))
        note = f" (a way that costs more than {left} is paused by `limits.max_cost`)"
    return (
        f"the deadline is in {describe_span(deadline)}, but synchronous requests take about "
        f"{describe_span(work.sync_seconds)} and batches about {describe_span(work.late_batch_seconds)}{note}; "
        f"what would meet it: {', or '.join(_find_remedies(work, deadline, options))}"
    )


def _list_options(work: Workload, ways: tuple[Way, ...]) -> Iterator[_Option]:
    """Yield the modes that the params allow, and the mode that the spec sets."""
    spec, forced = work.spec, find_forced_mode(work)
    for mode, seconds in (("sync", work.sync_seconds), ("batch", work.late_batch_seconds)):
        is_allowed = forced is None or forced[0] == mode
        is_own = spec.mode == mode or (spec.mode == "auto" and is_allowed)
        way = chosen_way(work, mode, ways)
        uncapped = seconds if mode == "sync" else work.queue_waves * work.late_wave_seconds
        needed = (way.cost or 0.0) if mode == "sync" or work.cap_waves is None else work.cap_waves.upper_bound
        if is_allowed or is_own:
            is_affordable = work.is_affordable(way.name, way.cost)
            yield _Option(mode, seconds, way.cost, is_own, is_affordable, uncapped, needed)


def _find_remedies(work: Workload, deadline: float, options: list[_Option]) -> Iterator[str]:
    """Yield the settings that would meet a missed deadline, each sufficient by itself."""
    if any(one.is_affordable and one.seconds <= deadline for one in options):
        yield "`mode: auto`"
    counted = ((_count_rows_in_time(work, deadline, one), one.condition) for one in options)
    fitting = [(rows, condition) for rows, condition in counted if 0 < rows < work.requests]
    if fitting:
        rows, condition = max(fitting)
        yield f"at most {pluralize(rows, 'row')} (`--limit {rows}`){condition}"
    each, concurrency = work.speed.request_seconds, work.spec.sync.concurrency
    needed = math.ceil(work.requests * each / max(deadline, 0.001))
    for one in options:
        is_enough = one.mode == "sync" and each <= deadline and concurrency < needed <= _MAX_CONCURRENCY
        if is_enough and one.is_affordable:
            yield f"`sync.concurrency: {needed}`{one.condition}, if your rate limits allow it"
    spent = max((work.spec.limits.max_cost or 0.0) - work.budget, 0.0)
    for one in options:
        is_capped = not one.is_affordable or one.seconds > one.uncapped_seconds
        if is_capped and one.uncapped_seconds <= deadline:
            yield f"`limits.max_cost: {math.ceil((spent + one.needed) * 100) / 100:.2f}`{one.condition}"
    seconds = min(one.seconds_if_paid for one in options if one.is_own)
    if seconds > deadline:
        is_paid = all(one.is_affordable for one in options if one.is_own and one.seconds_if_paid == seconds)
        yield f"`deadline: {_write_span(seconds)}`" + ("" if is_paid else " with a higher `limits.max_cost`")


def _count_rows_in_time(work: Workload, deadline: float, option: _Option) -> int:
    """Return how many rows fit into the time and under the cap: synchronously, or as batches in waves."""
    each = work.speed.request_seconds
    if option.mode == "sync":
        rows = int(deadline * work.spec.sync.concurrency / each) if each <= deadline else 0
    else:
        waves = int(deadline / work.late_wave_seconds)
        sent = work.cap_waves.sent[:waves] if work.cap_waves is not None else ()
        rows = waves * load_catalogue().enqueued if work.cap_waves is None else max(sent, default=0)
    is_capped = math.isfinite(work.budget) and option.cost
    return min(rows, int(work.budget / option.cost * work.requests)) if is_capped and option.cost else rows


def _write_span(seconds: float) -> str:
    """Write a time span as a spec does, rounded up to minutes or, if it is long, to hours."""
    return f"{math.ceil(seconds / 60)}m" if seconds < 3 * 3_600 else f"{math.ceil(seconds / 3_600)}h"
