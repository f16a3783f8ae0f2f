"""The ways to send a run, each with its expected time and cost."""

from collections.abc import Mapping
from dataclasses import dataclass

from runner.lifecycle.plan.speed import LONGEST_BATCH_SECONDS, Speed, estimate_sync_seconds
from runner.pricing.models import load_catalogue
from runner.pricing.rates import find_cache_ttls
from runner.spec.spec import Spec

WAY_NAMES = ("sync", "batch", "batch_cache_5m", "batch_cache_1h", "batch_warm_1h")
"""Synchronously, in batches, in batches with a cache mark of 5 minutes or 1 hour, with a cache warmed first."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to send a run: its expected seconds, and its expected cost in US dollars or None.

    `meets_deadline` is None without a deadline. A way that costs more than `limits.max_cost` never meets it,
    because the run pauses at the cap.
    """

    name: str
    seconds: float
    cost: float | None
    meets_deadline: bool | None


@dataclass(frozen=True, slots=True)
class Workload:
    """The facts that decide how a run is sent.

    They are its spec, its number of requests, the expected speed, and the size of the largest request in bytes.
    `cache` is the time to live of the cache that one request warms for the others, or None.
    """

    spec: Spec
    requests: int
    speed: Speed
    largest_bytes: int = 0
    cache: str | None = None

    @property
    def sync_seconds(self) -> float:
        """Expected seconds of the requests if they are sent synchronously."""
        return estimate_sync_seconds(self.spec, self.requests, self.speed.request_seconds)

    @property
    def waves(self) -> int:
        """Number of times that the API's processing queue is filled, on the lowest tier."""
        return -(-self.requests // load_catalogue().enqueued)

    @property
    def batch_seconds(self) -> float:
        """Expected seconds of the requests in batches."""
        return self.waves * self.speed.batch_seconds

    @property
    def warm_up_seconds(self) -> float:
        """Expected seconds of the batch that warms the cache for the others."""
        return self.speed.batch_seconds

    @property
    def late_batch_seconds(self) -> float:
        """Seconds of the requests in batches to compare with a deadline.

        With `on_deadline: wait` nothing hurries a late batch, so it counts with 24 hours until some were measured.
        """
        is_certain = self.spec.on_deadline != "wait" or self.speed.measured_batches
        return self.batch_seconds if is_certain else self.waves * LONGEST_BATCH_SECONDS


def list_ways(work: Workload, costs: Mapping[str, float] | None) -> tuple[Way, ...]:
    """Return all ways to send a run, with the expected `costs` of each."""
    deadline, cap, ways = work.spec.deadline, work.spec.limits.max_cost, []
    for name in WAY_NAMES:
        cost = None if costs is None else round(costs[name], 6)
        warm_up = work.warm_up_seconds if name == "batch_warm_1h" else 0.0
        seconds = work.sync_seconds if name == "sync" else work.batch_seconds + warm_up
        compared = seconds if name == "sync" else work.late_batch_seconds + warm_up
        fits = cost is None or cap is None or cost <= cap
        ways.append(
            Way(name, round(seconds, 1), cost, None if deadline is None else compared <= deadline and fits)
        )
    return tuple(ways)


def find_way(ways: tuple[Way, ...], name: str) -> Way:
    """Return the way with this name."""
    return next(way for way in ways if way.name == name)


def chosen_way(work: Workload, mode: str, ways: tuple[Way, ...]) -> Way:
    """Return the way that a run takes in this mode."""
    ttls = find_cache_ttls(work.spec)
    if mode == "sync":
        return find_way(ways, "sync")
    if work.cache is not None:
        return find_way(ways, "batch_warm_1h")
    return find_way(ways, f"batch_cache_{'1h' if '1h' in ttls else '5m'}" if ttls else "batch")
