"""Estimate the tokens and the cost of a prepared run, from a sample counted by the API if possible."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from math import sqrt

from runner.api.client import Api
from runner.lifecycle.plan.cache import CacheEstimate, estimate_cache
from runner.lifecycle.plan.count import Counts, Sample, count_samples, find_other_shapes, sample_requests
from runner.lifecycle.plan.output_tokens import OutputTokens, expected_output_tokens
from runner.lifecycle.prepare.first_round import RequestTotals
from runner.pricing.models import Model, find_model, load_catalogue
from runner.pricing.rates import Rate
from runner.requests.shared_prefix import measure_shared_prefix
from runner.runs.context import RunContext
from runner.runs.snapshot import read_snapshot
from runner.store.store import Store
from runner.templates.templates import Templates
from runner.text import pluralize

_CHUNK = 10_000


# Relative error without a count by the API: bytes per token vary between texts.
OFFLINE_ERROR = 0.3


@dataclass(slots=True)
class _RequestSizes:
    """Totals of the new requests of a run, split by price tier.

    `long_context_tier` is the tier for long prompts.
    """

    base_tier: RequestTotals = field(default_factory=RequestTotals)
    long_context_tier: RequestTotals = field(default_factory=RequestTotals)
    max_size: int = 0

    @property
    def requests(self) -> int:
        return self.base_tier.requests + self.long_context_tier.requests

    @property
    def bytes(self) -> int:
        return self.base_tier.bytes + self.long_context_tier.bytes


def _measure_sizes(context: RunContext, above: float) -> _RequestSizes:
    """Sum up the weights of all requests; those above `above` are in the upper price tier."""
    weights, sizes = context.store.row_index.request_sizes(context.run), _RequestSizes()
    while chunk := list(islice(weights, _CHUNK)):
        high = [weight for weight in chunk if weight > above]
        sizes.long_context_tier.add(sum(high), len(high))
        sizes.base_tier.add(sum(chunk) - sum(high), len(chunk) - len(high))
        sizes.max_size = max(sizes.max_size, *chunk)
    return sizes


def _measure_ratio(counted: Sequence[tuple[Sample, int]]) -> tuple[float, float]:
    """Return tokens per unit of weight as counted by the API, and the relative error."""
    total = sum(tokens for _, tokens in counted)
    ratio = total / sum(sample.weight for sample, _ in counted)
    if len(counted) < 2 or not ratio:
        return ratio, 0.0
    spread = sum((tokens - ratio * sample.weight) ** 2 for sample, tokens in counted)
    deviation = sqrt(spread / (len(counted) - 1) / len(counted))
    return ratio, 2 * deviation / (total / len(counted))


@dataclass(frozen=True, slots=True)
class _InputEstimate:
    """Tokens per unit of weight, the method in words, the relative error, and what the API rejects."""

    ratio: float
    method: str
    error: float
    rejected: Sequence[tuple[int, str]] = ()


def _estimate_input(context: RunContext, count: int, api: Api | None, model: Model | None) -> _InputEstimate:
    """Estimate the tokens of prompts, and ask the API if it accepts them. Raises AccessError."""
    counts = Counts()
    if api is not None and count:
        sample = sample_requests(context, count)
        counts = count_samples(api, [*sample, *find_other_shapes(context, count, sample)])
        counted = [(one, tokens) for one, tokens in counts.tokens if one in sample]
        if counted and not counts.rejected:
            ratio, error = _measure_ratio(counted)
            who = "simulator" if context.is_simulated else "API"
            method = f"counted by the {who} on {pluralize(len(counted), 'request')}"
            return _InputEstimate(ratio, method, 0.0 if len(counted) == count else error)
    ratio = 1 / (model.bytes_per_token if model is not None else 3.1)
    method = "estimated from the byte count, without the API"
    if counts.problem is not None:
        method += f" ({counts.problem})"
    return _InputEstimate(ratio, method, OFFLINE_ERROR, counts.rejected)


def find_cheapest(costs: Mapping[str, float], prefix: float) -> tuple[str, str]:
    """Return the cheapest way to send, and the reason."""
    # Plain batches win a tie: a cache that saves nothing is not worth a cache mark.
    way = min(costs, key=lambda name: (round(costs[name], 6), name != "batch"))
    if way == "batch_warm_1h":
        return way, f"all prompts share their first {prefix:,.0f} tokens"
    return way, "half price" if prefix else "half price; the shared prompt prefix is too short to cache"


@dataclass(frozen=True, slots=True)
class Estimate:
    """Token estimates of a run.

    `tokens_per_byte` is tokens per unit of weight of the requests, and `input_error` its relative error.
    `output_tokens` is tokens per response, and `output` what it is based on. `prefix_tokens` is the number of
    tokens that all prompts begin with, and `cache` what of them can be cached. `rejected` has the rows whose
    requests the API rejects, with its messages.
    """

    sizes: _RequestSizes
    tokens_per_byte: float
    input_method: str
    input_error: float
    output_tokens: float
    output: OutputTokens
    prefix_tokens: float
    cache: CacheEstimate
    rejected: Sequence[tuple[int, str]] = ()


def estimate_costs(rate: Rate, estimate: Estimate) -> dict[str, float]:
    """Return the expected cost of all requests in US dollars, for each way to send them."""
    sizes, prefix, output = estimate.sizes, estimate.cache.tokens, estimate.output_tokens
    known = load_catalogue()

    def total(ttl: str = "", hits: float = 0.0) -> float:
        cost = 0.0
        for share in (sizes.base_tier, sizes.long_context_tier):
            if share.requests:
                prompt = share.bytes / share.requests * estimate.tokens_per_byte
                cached, mark = min(prefix, prompt), ttl if prefix else ""
                cost += share.requests * rate.expected_cost(prompt, output, cached=cached, ttl=mark, hits=hits)
        return cost

    # The first request writes what the others read.
    warm = estimate.cache.hit_rate * (1 - 1 / max(sizes.requests, 1))
    return {
        "sync": total(),
        "batch": known.batch * total(),
        "batch_cache_5m": known.batch * total("5m", known.cache_hits["cold"]),
        "batch_cache_1h": known.batch * total("1h", known.cache_hits["cold"]),
        "batch_warm_1h": known.batch * total("1h", warm),
    }


def estimate_attached_cost(rate: Rate, estimate: Estimate, weight: int, *, is_batched: bool) -> float:
    """Return the part of the expected cost that is for attachments; `weight` is their part of the sizes."""
    shares = (estimate.sizes.base_tier, estimate.sizes.long_context_tier)
    cost = 0.0
    for share in shares:
        if share.requests:
            prompt = share.bytes / share.requests * estimate.tokens_per_byte
            cost += share.requests * rate.expected_cost(prompt, 0)
    return cost * weight / estimate.sizes.bytes * (load_catalogue().batch if is_batched else 1.0)


def build_estimate(
    context: RunContext,
    templates: Templates,
    api: Api | None,
    previous_store: Store,
    rate: Rate | None,
    count: int,
) -> Estimate:
    """Estimate the tokens and sizes of the `count` new requests of a run, with the API's help if there is one."""
    model = find_model(str(context.spec.params["model"]))
    found = _estimate_input(context, count, api, model)
    ratio = found.ratio
    tier = rate.long_context.tokens if rate is not None and rate.long_context is not None else None
    sizes = _measure_sizes(context, float("inf") if tier is None else tier / ratio)
    prefix = measure_shared_prefix(templates)
    runs = list(previous_store.previous_runs(context.run))
    output = expected_output_tokens(read_snapshot(context.store, context.run), previous_store, runs)
    cache = estimate_cache(context.spec, prefix, ratio, previous_store, runs)
    tokens = prefix.bytes * ratio
    return Estimate(sizes, ratio, found.method, found.error, output.mean, output, tokens, cache, found.rejected)


def estimate_cost_range(rate: Rate, estimate: Estimate, way: str) -> tuple[float, float] | None:
    """Return the limits of the expected cost of a way to send; None without earlier answers to measure."""
    interval = estimate.output.interval(estimate.sizes.requests)
    if interval is None:
        return None
    inputs = (1 - estimate.input_error, 1 + estimate.input_error)
    low, high = (
        estimate_costs(
            rate, replace(estimate, output_tokens=output, tokens_per_byte=share * estimate.tokens_per_byte)
        )
        for output, share in zip(interval, inputs, strict=True)
    )
    return low[way], high[way]


def run_cost_upper_bound(context: RunContext, rate: Rate, mode: str) -> float:
    """Return the upper bound of the cost of all requests in this mode."""
    return rate.cost_upper_bound(context.store.row_index.request_sizes(context.run), is_batched=mode == "batch")


def round_micro(dollars: float | None) -> float | None:
    """Round an amount to a millionth of a dollar."""
    return None if dollars is None else round(dollars, 6)
