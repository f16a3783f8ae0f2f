"""Estimate what a prompt cache saves, and decide if a run warms one."""

from collections.abc import Iterable
from dataclasses import dataclass

from runner.lifecycle.plan.ways import Way, Workload, find_way
from runner.lifecycle.prepare.cached_prefix import NEGLIGIBLE_SAVING, decides_cache, find_least_tokens
from runner.pricing.models import load_catalogue
from runner.pricing.rates import find_cache_ttls
from runner.requests.shared_prefix import SharedPrefix
from runner.results.usage import Usage
from runner.spec.spec import Spec
from runner.store.records import Run
from runner.store.run_batches import decode_column
from runner.store.store import Store


@dataclass(frozen=True, slots=True)
class CacheEstimate:
    """The tokens at the beginning of each prompt that can be cached; 0 if they are too few.

    `hit_rate` is the share of requests that read them from a cache that was warmed, and `hit_method` its source.
    """

    tokens: float
    hit_rate: float
    hit_method: str

    def describe(self) -> str:
        """Return what the costs with a cache assume, or an empty text if there is nothing to cache."""
        if not self.tokens:
            return ""
        return (
            f"prompts share their first {self.tokens:,.0f} tokens; {self.hit_rate:.0%} read them from a warmed "
            f"cache ({self.hit_method}), and none from a cold one"
        )


def estimate_cache(
    spec: Spec, prefix: SharedPrefix, tokens_per_byte: float, store: Store, earlier: Iterable[Run]
) -> CacheEstimate:
    """Return what of the prompts can be cached, and how often a cache is hit by the `earlier` runs of the spec."""
    tokens = (prefix.marked_bytes if find_cache_ttls(spec) else prefix.bytes) * tokens_per_byte
    return CacheEstimate(tokens if tokens >= find_least_tokens(spec) else 0.0, *_measure_hit_rate(store, earlier))


def _measure_hit_rate(store: Store, runs: Iterable[Run]) -> tuple[float, str]:
    """Return the share of prompts that read a warmed cache, and its source: the first run that warmed one."""
    for run in runs:
        batches = [one for one in store.batches(run) if one.cache is not None and one.state == "collected"]
        usage = Usage(unreadable={})
        for batch in batches if any(one.is_warmup for one in batches) else ():
            if not batch.is_warmup:
                usage.add(decode_column(batch.usage, Usage))
        read, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
        if read or written:
            return read / (read + written), f"measured in run {run.id}"
    return load_catalogue().cache_hits["warm"], "as others have measured it"


def find_reason_not_to_warm(work: Workload, ways: tuple[Way, ...]) -> str:
    """Return why a run does not warm the cache first, although that is the cheapest way; empty if it does."""
    if work.spec.prompt.cache is None and not find_cache_ttls(work.spec):
        return "not done, because of `cache: off`"
    if not decides_cache(work.spec):
        return "" if work.cache is not None else "not done, because the spec sets other cache marks"
    plain, warm = find_way(ways, "batch"), find_way(ways, "batch_warm_1h")
    if (plain.cost or 0.0) - (warm.cost or 0.0) < NEGLIGIBLE_SAVING:
        return f"not done, because it saves less than ${NEGLIGIBLE_SAVING}"
    if warm.meets_deadline is False:
        return "not done, because it would miss the deadline"
    if _is_held_back(work):
        return "not done, because `limits.max_cost` would hold batches back"
    return ""


def _is_held_back(work: Workload) -> bool:
    """Return whether batches would wait for the cap because a write to the cache can cost twice as much."""
    waves = [work.capped[way] for way in ("batch", "batch_warm_1h") if work.capped]
    plain, warm = [(one.unsent, one.count) for one in waves] or [(0, 0), (0, 0)]
    return warm > plain
