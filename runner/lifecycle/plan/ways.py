"""The ways to send a run, each with its expected time and cost."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from runner.lifecycle.plan.cap_effect import CapWaves, simulate_ways
from runner.lifecycle.plan.speed import LONGEST_BATCH_SECONDS, Speed, estimate_sync_seconds, measure_speed
from runner.pricing.models import load_catalogue
from runner.pricing.rates import find_cache_ttls
from runner.runs.context import RunContext
from runner.spec.spec import Spec
from runner.store.store import Store

WAY_NAMES = ("sync", "batch", "batch_cache_5m", "batch_cache_1h", "batch_warm_1h")
"""Synchronously, in batches, in batches with a cache mark of 5 minutes or 1 hour, with a cache warmed first."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to send a run: its expected seconds, and its expected cost in US dollars or None.

    `meets_deadline` is None without a deadline. A way that costs more than is left of `limits.max_cost` never
    meets it, because the run pauses at the cap.
    """

    name: str
    seconds: float
    cost: float | None
    meets_deadline: bool | None


@dataclass(frozen=True, slots=True)
class Workload:
    """The facts that decide how a run is sent.

    They are its spec, its number of requests, the expected speed, and the size of the largest request in bytes.
    `cache` is the time to live of the cache that one request warms for the others, or None. `budget` is what
    is left of `limits.max_cost`, in US dollars, and `capped` has the waves in which it lets batches be sent, by
    way.
    """

    spec: Spec
    requests: int
    speed: Speed
    largest_bytes: int = 0
    cache: str | None = None
    budget: float = math.inf
    capped: Mapping[str, CapWaves] = field(default_factory=dict[str, CapWaves])

    @property
    def sync_seconds(self) -> float:
        """Expected seconds of the requests if they are sent synchronously."""
        return estimate_sync_seconds(self.spec, self.requests, self.speed.request_seconds)

    @property
    def batch_way(self) -> str:
        """The name of the way that the run takes in batches."""
        ttls = find_cache_ttls(self.spec)
        if self.cache is not None:
            return "batch_warm_1h"
        return f"batch_cache_{'1h' if '1h' in ttls else '5m'}" if ttls else "batch"

    @property
    def queue_waves(self) -> int:
        """Number of times that the API's processing queue is filled, on the lowest tier."""
        return -(-self.requests // load_catalogue().enqueued)

    @property
    def cap_waves(self) -> CapWaves | None:
        """The waves in which the cap lets the batches of this run be sent, or None without a cap."""
        return self.capped.get(self.batch_way)

    @property
    def is_held_back(self) -> bool:
        """True if batches wait for the cap, besides those that wait for the API's queue."""
        return self.count_waves(self.batch_way) > self.queue_waves

    @property
    def batch_seconds(self) -> float:
        """Expected seconds of the requests in batches."""
        return self.count_waves(self.batch_way) * self.speed.batch_seconds

    @property
    def late_batch_seconds(self) -> float:
        """Seconds of the requests in batches to compare with a deadline."""
        return self.count_waves(self.batch_way) * self.late_wave_seconds

    @property
    def late_wave_seconds(self) -> float:
        """Seconds of batches that are sent at once, to compare with a deadline.

        With `on_deadline: wait` nothing hurries a late batch, so it counts with 24 hours until some were measured.
        """
        is_certain = self.spec.on_deadline != "wait" or self.speed.measured_batches
        return self.speed.batch_seconds if is_certain else LONGEST_BATCH_SECONDS

    def count_waves(self, way: str) -> int:
        """Return how often batches are sent after others have ended: the queue is full, or the cap reached."""
        return max(self.queue_waves, self.capped[way].count if way in self.capped else 0)

    def is_affordable(self, way: str, cost: float | None) -> bool:
        """Return whether a way with this expected cost is not paused by the cap."""
        is_cut = way in self.capped and self.capped[way].unsent > 0
        return cost is None or (cost <= self.budget and not is_cut)


def build_workload(
    context: RunContext,
    output_tokens: float,
    costs: Mapping[str, float] | None,
    previous_store: Store,
    *,
    base_url: str | None,
    spent: float,
) -> Workload:
    """Collect what decides how a prepared run is sent, if so many US dollars of its cap are `spent`."""
    store, run, cap = context.store, context.run, context.spec.limits.max_cost
    speed = measure_speed(
        previous_store,
        run,
        requests=max((batch.requests for batch in store.batches(run)), default=0),
        output_tokens=output_tokens,
        base_url=base_url,
    )
    budget = math.inf if cap is None else cap - spent
    return Workload(
        context.spec,
        store.count_new_requests(run),
        speed,
        store.row_index.largest_request_bytes(run),
        cache=next((batch.cache for batch in store.batches(run) if batch.cache), None),
        budget=budget,
        capped=simulate_ways(context, costs, budget),
    )


def list_ways(work: Workload, costs: Mapping[str, float] | None) -> tuple[Way, ...]:
    """Return all ways to send a run, with the expected `costs` of each."""
    deadline, ways = work.spec.deadline, []
    for name in WAY_NAMES:
        cost = None if costs is None else round(costs[name], 6)
        seconds = compared = work.sync_seconds
        if name != "sync":
            warm_up = work.speed.batch_seconds if name == "batch_warm_1h" else 0.0
            seconds = work.count_waves(name) * work.speed.batch_seconds + warm_up
            compared = work.count_waves(name) * work.late_wave_seconds + warm_up
        is_met = None if deadline is None else compared <= deadline and work.is_affordable(name, cost)
        ways.append(Way(name, round(seconds, 1), cost, is_met))
    return tuple(ways)


def find_way(ways: tuple[Way, ...], name: str) -> Way:
    """Return the way with this name."""
    return next(way for way in ways if way.name == name)


def chosen_way(work: Workload, mode: str, ways: tuple[Way, ...]) -> Way:
    """Return the way that a run takes in this mode."""
    return find_way(ways, "sync" if mode == "sync" else work.batch_way)
