"""What a run would send and cost, worked out before the first paid byte."""

import random
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from math import sqrt
from typing import Any

import msgspec

from runner.api import Api
from runner.cost import Model, Rate, catalogue, known_model, rate_of
from runner.errors import RunnerError
from runner.lifecycle.job import Job, decoded, plural
from runner.lifecycle.outlook import choose, outlook, synchronous_seconds
from runner.lifecycle.prepare import Prepared, Share
from runner.outcome import Usage
from runner.prompt import Templates
from runner.request import prefix_bytes
from runner.rules import Facts, Finding, examine
from runner.spec import Spec
from runner.store import Store, pieces

_SAMPLE, _SAMPLE_BYTES = 16, 8 << 20
_CHUNK = 10_000
# Without a count: how far the bytes of a token differ between texts.
_OFFLINE_ERROR = 0.3
# Without earlier answers to go by: which part of max_tokens an answer uses.
_ASSUMED_OUTPUT = 0.25


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would send. Amounts are US dollars, None where no price is known.

    `new` requests are sent, `because` of data, prompt, params or again (see `Reasons`), each with its {rows,
    cost}; `reused` rows take the answer of an earlier run or of an identical row. `input_tokens` is {value,
    method, error}, the error a share of the value; `output_tokens` {expected, worst, method}. `cost` holds what
    all would cost sync, batch, batch_cache_5m and batch_cache_1h, and worst, the most that the way chosen can
    cost; `mode` is that way, and `why` the reason for it if it was chosen. `under_way` is the unfinished run of
    the spec, if there is one.
    """

    run: str
    spec: str
    model: str
    mode: str
    why: str
    rows: int
    new: int
    reused: int
    rejected: int
    because: dict[str, dict[str, Any]]
    batches: int
    bytes: int
    input_tokens: dict[str, Any]
    output_tokens: dict[str, Any]
    cost: dict[str, float | None]
    estimated: float | None
    cheapest: str | None
    cheapest_why: str
    outlook: str
    max_cost: float | None
    under_way: str | None = None
    findings: list[Finding] = field(default_factory=list)


@dataclass(slots=True)
class _Sizes:
    """The new requests of a run, those whose prompt is in the upper tier of prices apart, by weight."""

    low: Share = field(default_factory=Share)
    high: Share = field(default_factory=Share)
    largest: int = 0

    @property
    def requests(self) -> int:
        return self.low.requests + self.high.requests

    @property
    def bytes(self) -> int:
        return self.low.bytes + self.high.bytes


def _sizes(job: Job, above: float) -> _Sizes:
    """The weights of all requests; those of more than `above` are in the upper tier."""
    weights, sizes = job.store.weights(job.run), _Sizes()
    while chunk := list(islice(weights, _CHUNK)):
        high = [weight for weight in chunk if weight > above]
        sizes.high.add(sum(high), len(high))
        sizes.low.add(sum(chunk) - sum(high), len(chunk) - len(high))
        sizes.largest = max(sizes.largest, *chunk)
    return sizes


def _sample(job: Job, count: int) -> Iterator[tuple[bytes, int]]:
    """The params of some requests with their weights, drawn from all of them; the same for the same spec."""
    chance = random.Random(job.run.fingerprint)  # noqa: S311 - to be repeatable is the point
    places, total = sorted(chance.sample(range(count), min(count, _SAMPLE))), 0
    with pieces() as files:
        for batch, offset, size, weight in job.store.nth_requests(job.run, places):
            total += size
            if total > _SAMPLE_BYTES:
                return
            yield files.read(job.store.folder(job.run).body(1, batch), offset, size), weight


def _counted(api: Api, sample: Sequence[tuple[bytes, int]]) -> tuple[float, float] | None:
    """Tokens per unit of weight by the API's count, with the relative error of the sample; None if it fails."""
    try:
        with ThreadPoolExecutor(8) as pool:
            tokens = list(pool.map(api.count_tokens, [params for params, _ in sample]))
    except RunnerError:
        return None
    weights = [weight for _, weight in sample]
    ratio = sum(tokens) / sum(weights)
    if len(sample) < 2 or not ratio:
        return ratio, 0.0
    spread = sum((count - ratio * weight) ** 2 for count, weight in zip(tokens, weights, strict=True))
    deviation = sqrt(spread / (len(sample) - 1) / len(sample))
    return ratio, 2 * deviation / (sum(tokens) / len(tokens))


def _input(job: Job, count: int, api: Api | None, model: Model | None) -> tuple[float, str, float]:
    """Tokens per unit of weight, how that is known, and its relative error."""
    if api is not None and count:
        sample = list(_sample(job, count))
        counted = _counted(api, sample) if sample else None
        if counted is not None:
            error = 0.0 if len(sample) == count else counted[1]
            return counted[0], f"counted by the API on {plural(len(sample), 'request')}", error
    ratio = 1 / (model.bytes_per_token if model is not None else 3.1)
    return ratio, "estimated from the bytes, without the API", _OFFLINE_ERROR


def _output(job: Job, earlier: Store) -> tuple[float, str]:
    """The tokens that one answer is expected to have, and how that is known."""
    for run in earlier.earlier(job.run):
        tokens, answers = 0.0, 0
        for batch in earlier.batches(run):
            tokens += decoded(batch.usage, Usage).output_tokens or 0
            answers += decoded(batch.counts, dict[str, int]).get("succeeded", 0)
        if tokens and answers:
            return tokens / answers, f"as the answers of run {run.id}"
    return job.spec.params["max_tokens"] * _ASSUMED_OUTPUT, "assuming a quarter of max_tokens"


def _costs(rate: Rate, sizes: _Sizes, ratio: float, output: float, prefix: float) -> dict[str, float]:
    """What all requests are expected to cost, by the way they are sent."""

    def total(ttl: str = "") -> float:
        cost = 0.0
        for share in (sizes.low, sizes.high):
            if share.requests:
                prompt = share.bytes / share.requests * ratio
                cost += share.requests * rate.expected(prompt, output, cached=min(prefix, prompt), ttl=ttl)
        return cost

    half = catalogue().batch
    cached = {ttl: half * total(ttl if prefix else "") for ttl in ("5m", "1h")}
    return {
        "sync": total(),
        "batch": half * total(),
        "batch_cache_5m": cached["5m"],
        "batch_cache_1h": cached["1h"],
    }


def _cheapest(costs: Mapping[str, float], prefix: float, spec: Spec) -> tuple[str, str]:
    """The cheapest way to send, and why it is."""
    # A cache that saves nothing is no reason to set a mark.
    way = min(costs, key=lambda name: (round(costs[name], 6), name != "batch"))
    ttl = way.rpartition("_")[2]
    if way.startswith("batch_cache"):
        why = f"all prompts begin with the same {prefix:,.0f} tokens"
        return way, why if spec.prompt.cache == ttl else f"{why}: set `prompt.cache: {ttl}`"
    return way, "half price" if prefix else "half price, and too little that all prompts share to cache it"


@dataclass(frozen=True, slots=True)
class _Estimate:
    """What is reckoned with: tokens per byte of params and per answer, and the tokens that all prompts begin with.

    `error` is that of the input, a share; of the prefix, `cached` tokens are enough to be cached.
    """

    sizes: _Sizes
    ratio: float
    method: str
    error: float
    output: float
    output_method: str
    prefix: float
    cached: float


def _estimate(
    job: Job, templates: Templates, api: Api | None, earlier: Store, rate: Rate | None, count: int
) -> _Estimate:
    model = known_model(str(job.spec.params["model"]))
    ratio, method, error = _input(job, count, api, model)
    tier = rate.above.tokens if rate is not None and rate.above is not None else None
    sizes = _sizes(job, float("inf") if tier is None else tier / ratio)
    prefix = prefix_bytes(templates) * ratio
    is_cacheable = prefix >= (model.cache_minimum if model and model.cache_minimum else 1024)
    cached = prefix if is_cacheable else 0.0
    return _Estimate(sizes, ratio, method, error, *_output(job, earlier), prefix, cached)


def _facts(made: Plan, reckoned: _Estimate) -> Facts:
    """What the rules want to know."""
    return Facts(
        mode=made.mode,
        rows=made.rows,
        new=made.new,
        prompt_tokens=reckoned.sizes.largest * reckoned.ratio,
        prefix_tokens=reckoned.prefix,
        expected_cost=made.estimated,
        is_counted=reckoned.error < _OFFLINE_ERROR,
    )


def _worst(job: Job, rate: Rate, mode: str) -> float:
    """The most that all requests can cost as they are sent."""
    return rate.worst(job.store.weights(job.run), is_batched=mode == "batch")


def make_plan(job: Job, templates: Templates, prepared: Prepared, api: Api | None, earlier: Store) -> Plan:
    """What the prepared run of a job would send and cost.

    With `api` input tokens are counted, which is free; `earlier` holds the runs before it.
    """
    spec, rate, count = job.spec, rate_of(job.spec), job.store.new_requests(job.run)
    found = _estimate(job, templates, api, earlier, rate, count)
    costs = None if rate is None else _costs(rate, found.sizes, found.ratio, found.output, found.cached)
    cheapest, cheapest_why = (None, "") if costs is None else _cheapest(costs, found.cached, spec)
    seconds = synchronous_seconds(spec, count, found.output)
    mode, why = choose(spec, count, seconds)
    batches = job.store.batches(job.run)
    way = mode if mode == "sync" else f"batch_cache_{spec.prompt.cache}" if spec.prompt.cache else "batch"
    made = Plan(
        run=job.run.id,
        spec=spec.name,
        model=str(spec.params["model"]),
        mode=mode,
        why=why,
        rows=job.run.rows,
        new=count,
        reused=prepared.reused + prepared.twins,
        rejected=job.store.tally(job.run).get("rejected", 0),
        because=_because(prepared, rate, found.ratio, found.output, mode),
        batches=len(batches),
        bytes=sum(batch.bytes for batch in batches),
        input_tokens={
            "value": round(found.sizes.bytes * found.ratio),
            "method": found.method,
            "error": round(found.error, 4),
        },
        output_tokens={
            "expected": round(count * found.output),
            "worst": count * int(spec.params["max_tokens"]),
            "method": found.output_method,
        },
        cost={**_rounded(costs), "worst": None if rate is None else _micro(_worst(job, rate, mode))},
        estimated=None if costs is None else _micro(costs[way]),
        cheapest=cheapest,
        cheapest_why=cheapest_why,
        outlook=outlook(spec, mode, count, seconds),
        max_cost=spec.limits.max_cost,
        under_way=next((run.id for run in earlier.earlier(job.run) if run.state == "running"), None),
    )
    findings = examine(spec, _facts(made, found), keys=_keys(job))
    return replace(made, findings=[*findings, *prepared.rejected])


class _Key(msgspec.Struct):
    key: str | int


def _keys(job: Job) -> list[str | int]:
    """The first keys of the source, if it has any."""
    if job.spec.source.key is None:
        return []
    decode = msgspec.json.Decoder(_Key).decode
    with job.store.folder(job.run).rows.open("rb") as file:
        return [decode(line).key for line in islice(file, 100)]


def _because(
    prepared: Prepared, rate: Rate | None, ratio: float, output: float, mode: str
) -> dict[str, dict[str, Any]]:
    shown = {}
    for reason, share in sorted(prepared.because.items()):
        cost = None
        if rate is not None:
            cost = share.requests * rate.expected(share.bytes / share.requests * ratio, output)
            cost *= catalogue().batch if mode == "batch" else 1.0
        shown[reason] = {"rows": share.requests, "cost": _micro(cost)}
    return shown


def _micro(dollars: float | None) -> float | None:
    return None if dollars is None else round(dollars, 6)


def _rounded(costs: Mapping[str, float] | None) -> dict[str, float | None]:
    names = ("sync", "batch", "batch_cache_5m", "batch_cache_1h")
    return {name: None if costs is None else _micro(costs[name]) for name in names}
