"""Plan of a run: what it would send and cost, computed before anything is paid."""

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
from runner.prompt.templates import Templates
from runner.request import prefix_bytes
from runner.rules import examine
from runner.rules.case import Facts, Finding
from runner.spec.spec import Spec
from runner.store.folder import pieces
from runner.store.state import Store

_SAMPLE, _SAMPLE_BYTES = 16, 8 << 20
_CHUNK = 10_000
# Relative error without a count by the API: bytes per token vary between texts.
_OFFLINE_ERROR = 0.3
# Share of max_tokens that a response uses, assumed if there are no earlier responses.
_ASSUMED_OUTPUT = 0.25


@dataclass(frozen=True, slots=True)
class Plan:
    """Contents and cost of a run. Amounts are in US dollars, or None if no price is known.

    `new` is the number of requests to send. `because` splits them by reason (data, prompt, params or again, see
    `Reasons`), each as {rows, cost}.
    `reused` rows take the result of an earlier run or of an identical row.
    `input_tokens` is {value, method, error}; the error is a share of the value.
    `output_tokens` is {expected, worst, method}.
    `cost` holds the expected cost of each way to send: sync, batch, batch_cache_5m and batch_cache_1h. Its `worst`
    is the upper bound for the selected `mode`.
    `why` is the reason for `mode`, if the runner selected it.
    `under_way` is the id of the unfinished run of the spec, if there is one.
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
    """Totals of the new requests of a run, split by price tier; `high` is the tier for long prompts."""

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
    """Sum up the weights of all requests; those above `above` are in the upper price tier."""
    weights, sizes = job.store.weights(job.run), _Sizes()
    while chunk := list(islice(weights, _CHUNK)):
        high = [weight for weight in chunk if weight > above]
        sizes.high.add(sum(high), len(high))
        sizes.low.add(sum(chunk) - sum(high), len(chunk) - len(high))
        sizes.largest = max(sizes.largest, *chunk)
    return sizes


def _sample(job: Job, count: int) -> Iterator[tuple[bytes, int]]:
    """Yield the params and weights of a random sample of the requests, reproducible for the same spec."""
    chance = random.Random(job.run.fingerprint)  # noqa: S311 - must be reproducible
    places, total = sorted(chance.sample(range(count), min(count, _SAMPLE))), 0
    with pieces() as files:
        for batch, offset, size, weight in job.store.nth_requests(job.run, places):
            total += size
            if total > _SAMPLE_BYTES:
                return
            yield files.read(job.store.folder(job.run).body(1, batch), offset, size), weight


def _counted(api: Api, sample: Sequence[tuple[bytes, int]]) -> tuple[float, float] | None:
    """Return tokens per unit of weight as counted by the API, and the relative error; None on failure."""
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
    """Return tokens per unit of weight, the method in words, and the relative error."""
    if api is not None and count:
        sample = list(_sample(job, count))
        counted = _counted(api, sample) if sample else None
        if counted is not None:
            error = 0.0 if len(sample) == count else counted[1]
            return counted[0], f"counted by the API on {plural(len(sample), 'request')}", error
    ratio = 1 / (model.bytes_per_token if model is not None else 3.1)
    return ratio, "estimated from the byte count, without the API", _OFFLINE_ERROR


def _output(job: Job, earlier: Store) -> tuple[float, str]:
    """Return the expected number of tokens in a response, and the method in words."""
    for run in earlier.earlier(job.run):
        tokens, answers = 0.0, 0
        for batch in earlier.batches(run):
            tokens += decoded(batch.usage, Usage).output_tokens or 0
            answers += decoded(batch.counts, dict[str, int]).get("succeeded", 0)
        if tokens and answers:
            return tokens / answers, f"based on the average of run {run.id}"
    return job.spec.params["max_tokens"] * _ASSUMED_OUTPUT, "assuming a quarter of max_tokens"


def _costs(rate: Rate, sizes: _Sizes, ratio: float, output: float, prefix: float) -> dict[str, float]:
    """Return the expected cost of all requests for each way to send them."""

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
    """Return the cheapest way to send, and the reason."""
    # Plain batches win a tie: a cache that saves nothing is not worth a cache mark.
    way = min(costs, key=lambda name: (round(costs[name], 6), name != "batch"))
    ttl = way.rpartition("_")[2]
    if way.startswith("batch_cache"):
        why = f"all prompts share their first {prefix:,.0f} tokens"
        return way, why if spec.prompt.cache == ttl else f"{why}: set `prompt.cache: {ttl}`"
    return way, "half price" if prefix else "half price; the shared prompt prefix is too short to cache"


@dataclass(frozen=True, slots=True)
class _Estimate:
    """Token estimates of a run.

    `ratio` is tokens per unit of weight of the requests, and `error` its relative error. `output` is tokens per
    response. `prefix` is the number of tokens that all prompts begin with. `cached` is the same number, or 0 if
    the prefix is too short to cache.
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
    """Collect the facts that the rules examine."""
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
    """Return the upper bound of the cost of all requests in this mode."""
    return rate.worst(job.store.weights(job.run), is_batched=mode == "batch")


def make_plan(job: Job, templates: Templates, prepared: Prepared, api: Api | None, earlier: Store) -> Plan:
    """Plan the prepared run of a job: what it would send and cost.

    With `api`, the API counts the input tokens, which is free. `earlier` is the store with the previous runs.
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
    """Return the first 100 keys of the source; none if the spec has no key column."""
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
