"""Plan of a run: what it would send and cost, computed before anything is paid."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import msgspec

from runner.api.client import Api
from runner.lifecycle.plan.estimate import (
    OFFLINE_ERROR,
    Estimate,
    build_estimate,
    estimate_costs,
    find_cheapest,
    round_micro,
    run_cost_upper_bound,
)
from runner.lifecycle.plan.send_mode import choose_send_mode, describe_duration, estimate_sync_seconds
from runner.lifecycle.prepare.prepare import PreparedRun
from runner.pricing.models import load_catalogue
from runner.pricing.rates import Rate, rate_for_spec
from runner.rules.finding import Finding, PlanFacts
from runner.rules.run import run_rules
from runner.runs.context import RunContext
from runner.store.records import Run
from runner.store.store import Store
from runner.templates.templates import Templates


@dataclass(frozen=True, slots=True)
class Plan:
    """Contents and cost of a run. Amounts are in US dollars, or None if no price is known.

    `new` is the number of requests to send. `reasons` splits them by reason (data, prompt, params, again or
    invalid, see `ChangeReasons`), each as {rows, cost}.
    `reused` rows take the result of an earlier run or of an identical row.
    `input_tokens` is {value, method, error}; the error is a share of the value.
    `output_tokens` is {expected, max, method}.
    `cost` holds the expected cost of each way to send: sync, batch, batch_cache_5m and batch_cache_1h. Its `max`
    is the upper bound for the selected `mode`.
    `mode_reason` is the reason for `mode`, if the runner selected it.
    `unfinished_run` is the id of the unfinished run of the spec, if there is one.
    """

    run: str
    spec: str
    model: str
    mode: str
    mode_reason: str
    rows: int
    new: int
    reused: int
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
    unfinished_run: str | None = None
    findings: list[Finding] = field(default_factory=list)


def _build_facts(plan: Plan, estimate: Estimate) -> PlanFacts:
    """Collect the facts that the rules examine."""
    return PlanFacts(
        mode=plan.mode,
        rows=plan.rows,
        new=plan.new,
        prompt_tokens=estimate.sizes.max_size * estimate.tokens_per_byte,
        prefix_tokens=estimate.prefix_tokens,
        expected_cost=plan.estimated_cost,
        is_counted=estimate.input_error < OFFLINE_ERROR,
    )


def _input_tokens(estimate: Estimate) -> dict[str, Any]:
    return {
        "value": round(estimate.sizes.bytes * estimate.tokens_per_byte),
        "method": estimate.input_method,
        "error": round(estimate.input_error, 4),
    }


def _output_tokens(estimate: Estimate, count: int, max_tokens: int) -> dict[str, Any]:
    return {
        "expected": round(count * estimate.output_tokens),
        "max": count * max_tokens,
        "method": estimate.output_method,
    }


def _upper_bound(context: RunContext, rate: Rate | None, mode: str) -> float | None:
    return None if rate is None else round_micro(run_cost_upper_bound(context, rate, mode))


def _find_unfinished_run(run: Run, previous_store: Store) -> str | None:
    runs = previous_store.previous_runs(run)
    return next((one.id for one in runs if one.state == "running"), None)


def build_plan(
    context: RunContext, templates: Templates, prepared: PreparedRun, api: Api | None, previous_store: Store
) -> Plan:
    """Plan a prepared run. With `api`, the API counts the input tokens, which is free."""
    spec, rate, count = context.spec, rate_for_spec(context.spec), context.store.count_new_requests(context.run)
    estimate = build_estimate(context, templates, api, previous_store, rate, count)
    costs = None if rate is None else estimate_costs(rate, estimate)
    cheapest, cheapest_reason = (None, "") if costs is None else find_cheapest(costs, estimate.cached_tokens, spec)
    seconds = estimate_sync_seconds(spec, count, estimate.output_tokens)
    mode, mode_reason = choose_send_mode(spec, count, seconds)
    batches = context.store.batches(context.run)
    way = mode if mode == "sync" else f"batch_cache_{spec.prompt.cache}" if spec.prompt.cache else "batch"
    plan = Plan(
        run=context.run.id,
        spec=spec.name,
        model=str(spec.params["model"]),
        mode=mode,
        mode_reason=mode_reason,
        rows=context.run.rows,
        new=count,
        reused=prepared.reused + prepared.duplicates,
        rejected=context.store.row_index.outcome_counts(context.run).get("rejected", 0),
        reasons=_describe_reasons(prepared, rate, estimate.tokens_per_byte, estimate.output_tokens, mode),
        batches=len(batches),
        bytes=sum(batch.bytes for batch in batches),
        input_tokens=_input_tokens(estimate),
        output_tokens=_output_tokens(estimate, count, int(spec.params["max_tokens"])),
        cost={**_round_costs(costs), "max": _upper_bound(context, rate, mode)},
        estimated_cost=None if costs is None else round_micro(costs[way]),
        cheapest=cheapest,
        cheapest_reason=cheapest_reason,
        duration=describe_duration(spec, mode, count, seconds),
        max_cost=spec.limits.max_cost,
        unfinished_run=_find_unfinished_run(context.run, previous_store),
    )
    findings = run_rules(spec, _build_facts(plan, estimate), keys=_read_first_keys(context))
    return replace(plan, findings=[*findings, *prepared.rejected_findings])


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
    prepared: PreparedRun, rate: Rate | None, ratio: float, output: float, mode: str
) -> dict[str, dict[str, Any]]:
    shown = {}
    for reason, share in sorted(prepared.totals_by_reason.items()):
        cost = None
        if rate is not None:
            cost = share.requests * rate.expected_cost(share.bytes / share.requests * ratio, output)
            cost *= load_catalogue().batch if mode == "batch" else 1.0
        shown[reason] = {"rows": share.requests, "cost": round_micro(cost)}
    return shown


def _round_costs(costs: Mapping[str, float] | None) -> dict[str, float | None]:
    names = ("sync", "batch", "batch_cache_5m", "batch_cache_1h")
    return {name: None if costs is None else round_micro(costs[name]) for name in names}
