"""Plan what a recovered run would send: the requests that no remote batch was found for."""

from collections.abc import Sequence
from itertools import chain

from runner.lifecycle.plan.estimate import OFFLINE_ERROR, round_micro
from runner.lifecycle.plan.output_tokens import OutputTokens, expected_output_tokens
from runner.lifecycle.plan.plan import Plan
from runner.lifecycle.plan.send_mode import describe_duration
from runner.lifecycle.plan.speed import measure_speed
from runner.lifecycle.plan.ways import WAY_NAMES, Workload, list_ways
from runner.lifecycle.send.recovered import find_unconfirmed_batches
from runner.pricing.models import find_model, load_catalogue
from runner.pricing.rates import Rate, rate_for_spec
from runner.runs.context import RunContext
from runner.runs.snapshot import read_snapshot
from runner.store.records import Batch

_BYTES_PER_TOKEN = 3.1


def plan_unconfirmed(context: RunContext) -> Plan | None:
    """Plan the requests of a recovered run that nobody has agreed to send; return None if it has none.

    Tokens are estimated from bytes, without the API.
    """
    batches = find_unconfirmed_batches(context.store, context.run)
    if not batches:
        return None
    spec, store, run = context.spec, context.store, context.run
    count, rate = sum(batch.requests for batch in batches), _find_rate(context, batches)
    output = expected_output_tokens(read_snapshot(store, run), store, store.previous_runs(run))
    tokens, costs = _estimate_tokens(context, batches), None
    if rate is not None:
        full = sum(rate.expected_cost(prompt, output.mean) for prompt in tokens)
        costs = {name: full * (1.0 if name == "sync" else load_catalogue().batch) for name in WAY_NAMES}
    speed = measure_speed(store, run, requests=max(batch.requests for batch in batches), output_tokens=output.mean)
    work = Workload(spec, count, speed)
    ways = list_ways(work, costs)
    cost = None if costs is None else round_micro(costs["batch"])
    return Plan(
        run=run.id,
        spec=spec.name,
        model=str(spec.params["model"]),
        mode="batch",
        mode_reason="",
        rows=run.rows,
        new=count,
        reused=0,
        duplicates=0,
        rejected=0,
        reasons={"unfound": {"rows": count, "cost": cost}},
        batches=len(batches),
        bytes=sum(batch.bytes for batch in batches),
        input_tokens={"value": round(sum(tokens)), "method": "estimated from bytes", "error": OFFLINE_ERROR},
        output_tokens=_describe_output(output, count, int(spec.params["max_tokens"])),
        cost={**{way.name: way.cost for way in ways}, "max": _upper_bound(context, rate, batches)},
        estimated_cost=cost,
        cheapest=None,
        cheapest_reason="",
        duration=describe_duration(work, "batch"),
        max_cost=spec.limits.max_cost,
        ways=ways,
        way="batch",
        platform=spec.api.platform,
    )


def _find_rate(context: RunContext, batches: Sequence[Batch]) -> Rate | None:
    return rate_for_spec(context.spec, next((batch.cache for batch in batches if batch.cache), None))


def _estimate_tokens(context: RunContext, batches: Sequence[Batch]) -> list[float]:
    """Return the expected tokens of each prompt."""
    model = find_model(str(context.spec.params["model"]))
    ratio = 1 / (_BYTES_PER_TOKEN if model is None else model.bytes_per_token)
    return [size * ratio for size in chain(*map(context.store.row_index.request_sizes_of, batches))]


def _describe_output(output: OutputTokens, count: int, max_tokens: int) -> dict[str, object]:
    return {
        "expected": round(count * output.mean),
        "max": count * max_tokens,
        "method": output.method,
        "per_answer": round(output.mean, 1),
        "low": None,
        "high": None,
        "answers": output.answers,
        "run": output.run,
    }


def _upper_bound(context: RunContext, rate: Rate | None, batches: Sequence[Batch]) -> float | None:
    """Return the most that batches can cost; a canary, and what a deadline may hurry, is sent synchronously."""
    if rate is None:
        return None
    is_hurried = context.spec.deadline is not None and context.spec.on_deadline == "sync"
    bounds = (
        rate.cost_upper_bound(
            context.store.row_index.request_sizes_of(batch),
            is_batched=batch.send_mode == "batch" and not is_hurried,
        )
        for batch in batches
    )
    return round_micro(sum(bounds))
