"""Plan of a run: what it would send and cost, computed before anything is paid."""

from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import Any

import msgspec

from runner.api.client import Api
from runner.lifecycle.plan.cache import find_reason_not_to_warm
from runner.lifecycle.plan.cap_effect import describe_cap_effect
from runner.lifecycle.plan.count import rejection_findings
from runner.lifecycle.plan.estimate import (
    OFFLINE_ERROR,
    Estimate,
    build_estimate,
    estimate_attached_cost,
    estimate_cost_range,
    estimate_costs,
    find_cheapest,
    round_micro,
    run_cost_upper_bound,
)
from runner.lifecycle.plan.missed_deadline import describe_missed_deadline
from runner.lifecycle.plan.send_mode import choose_send_mode, describe_duration, list_accounts
from runner.lifecycle.plan.ways import Way, Workload, build_workload, chosen_way, list_ways
from runner.lifecycle.prepare.cached_prefix import decides_cache
from runner.lifecycle.prepare.prepare import PreparedRun
from runner.pricing.rates import Rate, rate_for_spec
from runner.requests.attachment_totals import AttachedCounts
from runner.rules.finding import Finding, PlanFacts
from runner.rules.run import is_allowed, run_rules
from runner.runs.context import RunContext
from runner.runs.last_writers import find_shared_outputs
from runner.runs.shared_cap import SpentOfCap
from runner.sinks.destination import destination_setting, resolve_destination
from runner.spec.structured.enforcement import describe_enforcement
from runner.store.records import Run
from runner.store.store import Store
from runner.telemetry.trace import trace_plan
from runner.templates.templates import Templates


@dataclass(frozen=True, slots=True)
class Plan:
    """Contents and cost of a run. Amounts are in US dollars, or None if no price is known.

    `new` is the number of requests to send. `reasons` splits them by reason (data, rest, prompt, params, schema,
    again, purged or invalid, see `ChangeReasons`; unfound, of a recovered run), each as {rows, cost}.
    `reused` rows take the result of an earlier run, and `duplicates` that of an identical row of this run.
    `input_tokens` is {value, method, error}; the error is a share of the value.
    `output_tokens` is {expected, max, method, per_answer, low, high, answers, run}: `low` and `high` are limits of
    `per_answer` by 95 %, from so many `answers` of an earlier `run`, or None.
    `ways` holds each way to send the run, one of `WAY_NAMES`, with its expected seconds and cost, and whether it
    meets the deadline. `cost` holds the expected costs by way. Its `max` is the upper bound for the selected
    `mode`, or of a deadline after which the rest is sent synchronously.
    `mode_reason` is the reason for `mode`, if the runner selected it.
    `way` is the one of `ways` that the run takes. `cache` is the time to live of the cache that one request warms
    for the others, or None, and `cache_basis` what the costs of ways with a cache assume.
    `cap_effect` tells how `limits.max_cost` holds batches back, and `pilot` which rows are sent before the others.
    `schema` tells how the output schema is sent, and what of it is only checked here.
    `attached` is {documents, images, pages, bytes, unopened, cost} of the requests to send, or None if they attach
    nothing; `unopened` are those that the API reads from a URL or id, so that their size is assumed.
    `unfinished_run` is the id of the unfinished run of the spec, if there is one.
    `cost_range` has the limits of `estimated_cost` by the errors of both token counts; None if no earlier answers
    say how long answers are.
    If it `is_simulated`, nothing is paid: the costs are those of a real run with the tokens of the simulator.
    `platform` is the one that the run is sent to: anthropic, aws or google. `accounts` are those that its batches
    are spread over; empty without accounts.
    """

    run: str
    spec: str
    model: str
    mode: str
    mode_reason: str
    rows: int
    new: int
    reused: int
    duplicates: int
    rejected: int
    reasons: dict[str, dict[str, Any]]
    batches: int
    bytes: int
    input_tokens: dict[str, Any]
    output_tokens: dict[str, Any]
    cost: dict[str, float | None]
    estimated_cost: float | None
    cheapest: str | None
    cheapest_reason: str
    duration: str
    max_cost: float | None
    ways: tuple[Way, ...] = ()
    way: str = ""
    cache: str | None = None
    cache_basis: str = ""
    cap_effect: str = ""
    pilot: str = ""
    schema: str = ""
    attached: dict[str, Any] | None = None
    unfinished_run: str | None = None
    cost_range: tuple[float, float] | None = None
    findings: list[Finding] = field(default_factory=list)
    is_simulated: bool = False
    platform: str = "anthropic"
    accounts: tuple[str, ...] = ()


def _build_facts(plan: Plan, estimate: Estimate, work: Workload) -> PlanFacts:
    """Collect the facts that the rules examine."""
    return PlanFacts(
        mode=plan.mode,
        rows=plan.rows,
        new=plan.new,
        prompt_tokens=estimate.sizes.max_size * estimate.tokens_per_byte,
        prefix_tokens=estimate.prefix_tokens,
        expected_cost=plan.estimated_cost,
        budget=None if plan.max_cost is None else work.budget,
        is_counted=estimate.input_error < OFFLINE_ERROR,
        missed_deadline=describe_missed_deadline(work, plan.mode, plan.ways),
    )


def _input_tokens(estimate: Estimate) -> dict[str, Any]:
    return {
        "value": round(estimate.sizes.bytes * estimate.tokens_per_byte),
        "method": estimate.input_method,
        "error": round(estimate.input_error, 4),
    }


def _output_tokens(estimate: Estimate, count: int, max_tokens: int) -> dict[str, Any]:
    output = estimate.output
    low, high = output.interval(count) or (None, None)
    return {
        "expected": round(count * estimate.output_tokens),
        "max": count * max_tokens,
        "method": output.method,
        "per_answer": round(output.mean, 1),
        "low": None if low is None else round(low, 1),
        "high": None if high is None else round(min(high, max_tokens), 1),
        "answers": output.answers,
        "run": output.run,
    }


def _describe_attached(
    counts: AttachedCounts, estimate: Estimate, rate: Rate | None, mode: str
) -> dict[str, Any] | None:
    if not counts.documents + counts.images:
        return None
    cost = None
    if rate is not None:
        cost = round_micro(estimate_attached_cost(rate, estimate, counts.weight, is_batched=mode == "batch"))
    numbers = {name: number for name, number in asdict(counts).items() if name != "weight"}
    return {**numbers, "cost": cost}


def _find_cost_range(rate: Rate | None, estimate: Estimate, way: str) -> tuple[float, float] | None:
    found = None if rate is None else estimate_cost_range(rate, estimate, way)
    return None if found is None else (round(found[0], 6), round(found[1], 6))


def _upper_bound(context: RunContext, rate: Rate | None, mode: str) -> float | None:
    """Return the upper bound of a run's cost, as if a deadline found all its batches unfinished."""
    is_hurried = context.spec.deadline is not None and context.spec.on_deadline == "sync"
    bound = "sync" if is_hurried else mode
    return None if rate is None else round_micro(run_cost_upper_bound(context, rate, bound))


def _find_unfinished_run(run: Run, previous_store: Store) -> str | None:
    runs = previous_store.previous_runs(run)
    return next((one.id for one in runs if one.state == "running"), None)


def build_plan(
    context: RunContext,
    templates: Templates,
    prepared: PreparedRun,
    api: Api | None,
    previous_store: Store,
    spent: SpentOfCap,
) -> Plan:
    """Plan a prepared run. With `api`, the API counts the input tokens, which is free. Raises AccessError.

    `spent` is what other runs have cost of its cap.
    """
    spec, rate, count = context.spec, rate_for_spec(context.spec), context.store.count_new_requests(context.run)
    if api is not None:
        context.report("counting", "counting tokens")
    with trace_plan(spec, is_simulated=context.is_simulated):
        estimate = build_estimate(context, templates, api, previous_store, rate, count)
    costs = None if rate is None else estimate_costs(rate, estimate)
    cheapest, cheapest_reason = (None, "") if costs is None else find_cheapest(costs, estimate.cache.tokens)
    base_url = None if api is None else api.base_url
    tokens = estimate.output_tokens
    work = build_workload(context, tokens, costs, previous_store, base_url=base_url, spent=spent.total)
    ways = list_ways(work, costs)
    why_not = "" if cheapest != "batch_warm_1h" else find_reason_not_to_warm(work, ways)
    if decides_cache(spec) and (cheapest != "batch_warm_1h" or why_not):
        work = replace(work, cache=None)
    mode, mode_reason = choose_send_mode(work, ways)
    way, batches = chosen_way(work, mode, ways), context.store.batches(context.run)
    cache = work.cache if mode == "batch" else None
    rate = rate_for_spec(spec, cache)
    plan = Plan(
        run=context.run.id,
        spec=spec.name,
        model=str(spec.params["model"]),
        mode=mode,
        mode_reason=mode_reason,
        rows=context.run.rows,
        new=count,
        reused=prepared.reused,
        duplicates=prepared.duplicates,
        rejected=context.store.counts.read(context.run).get("rejected", 0),
        reasons=_describe_reasons(prepared, rate, estimate, way.cost),
        batches=len(batches) - (cache is None and any(batch.is_warmup for batch in batches)),
        bytes=sum(batch.bytes for batch in batches),
        input_tokens=_input_tokens(estimate),
        output_tokens=_output_tokens(estimate, count, int(spec.params["max_tokens"])),
        cost={**{way.name: way.cost for way in ways}, "max": _upper_bound(context, rate, mode)},
        estimated_cost=way.cost,
        cheapest=cheapest,
        cheapest_reason="; ".join(part for part in (cheapest_reason, why_not) if part),
        duration=describe_duration(work, mode),
        max_cost=spec.limits.max_cost,
        ways=ways,
        way=way.name,
        cache=cache,
        cache_basis=estimate.cache.describe(),
        cap_effect="" if rate is None else describe_cap_effect(spent, work.cap_waves if mode == "batch" else None),
        schema=describe_enforcement(spec.output),
        attached=_describe_attached(prepared.attached, estimate, rate, mode),
        unfinished_run=_find_unfinished_run(context.run, previous_store),
        cost_range=_find_cost_range(rate, estimate, way.name),
        is_simulated=context.is_simulated,
        platform=spec.api.platform,
        accounts=list_accounts(context, mode, cache),
    )
    return replace(plan, findings=_find_problems(context, plan, estimate, work, prepared, previous_store))


def _find_problems(
    context: RunContext,
    plan: Plan,
    estimate: Estimate,
    work: Workload,
    prepared: PreparedRun,
    previous_store: Store,
) -> list[Finding]:
    """Return the findings of the rules, outputs of other specs, and rejected requests."""
    found = run_rules(context.spec, _build_facts(plan, estimate, work), keys=_read_first_keys(context))
    shared = _find_shared_outputs(context, previous_store)
    rejected = [one for one in prepared.rejected_findings if not is_allowed(context.spec, one)]
    return [*found, *shared, *rejection_findings(context.spec, estimate.rejected), *rejected]


def _find_shared_outputs(context: RunContext, previous_store: Store) -> list[Finding]:
    """Return a warning for each output that another spec of the project wrote last."""
    spec = context.spec
    places = [resolve_destination(sink, root=spec.root, base=context.output_root) for sink in spec.sinks]
    found = []
    for index, message in find_shared_outputs(previous_store, spec.name, spec.sinks, places):
        problem = spec.problem(f"sinks.{index}.{destination_setting(spec.sinks[index])}", message)
        found.append(Finding("shared-output", "warning", problem.path, problem.line, problem.column, message))
    return [finding for finding in found if not is_allowed(spec, finding)]


class _Key(msgspec.Struct):
    key: str | int


def _read_first_keys(context: RunContext) -> list[str | int]:
    """Return the first 100 keys of the source; none if the spec has no key column."""
    if context.spec.source.key is None:
        return []
    decode = msgspec.json.Decoder(_Key).decode
    with context.store.folder(context.run).rows.open("rb") as file:
        return [decode(line).key for line in islice(file, 100)]


def _describe_reasons(
    prepared: PreparedRun, rate: Rate | None, estimate: Estimate, total: float | None
) -> dict[str, dict[str, Any]]:
    """Return the requests of each reason, with their share of the `total` cost of the plan."""
    shares = dict(sorted(prepared.totals_by_reason.items()))
    if rate is None or total is None:
        return {reason: {"rows": share.requests, "cost": None} for reason, share in shares.items()}
    ratio, output = estimate.tokens_per_byte, estimate.output_tokens
    costs = {
        reason: share.requests * rate.expected_cost(share.bytes / share.requests * ratio, output)
        for reason, share in shares.items()
    }
    factor = total / (sum(costs.values()) or 1.0)
    return {
        reason: {"rows": share.requests, "cost": round_micro(costs[reason] * factor)}
        for reason, share in shares.items()
    }
