"""The text of a plan."""

from collections.abc import Iterator
from typing import Any

from runner.cli.texts.numbers import format_dollars, format_size
from runner.lifecycle.plan.plan import Plan
from runner.lifecycle.plan.speed import describe_span
from runner.text import pluralize

_MODE_LABELS = {
    "sync": "synchronously",
    "batch": "in batches",
    "batch_cache_5m": "in batches, cached for 5 minutes",
    "batch_cache_1h": "in batches, cached for 1 hour",
}

_REASON_LABELS = {
    "data": "the row data is new or changed",
    "prompt": "the prompt has changed",
    "params": "the params have changed",
    "again": "there is no result to reuse",
    "invalid": "the answer they have is not valid",
}


def _format_requests(plan: Plan) -> str:
    reused = f", {plan.reused:,} reused" if plan.reused else ""
    duplicates = f", {pluralize(plan.duplicates, 'duplicate')}" if plan.duplicates else ""
    rejected = f", {plan.rejected:,} rejected" if plan.rejected else ""
    where = f" in {pluralize(plan.batches, 'batch')} ({format_size(plan.bytes)})" if plan.new else ""
    return f"{plan.new:,} to send{where}{reused}{duplicates}{rejected}"


def format_plan(run_plan: Plan) -> str:
    """Return a plan as text: what a run would send and cost."""
    tokens, output = run_plan.input_tokens, run_plan.output_tokens
    lines = [
        (
            f"{run_plan.spec}: {pluralize(run_plan.rows, 'row')} for {run_plan.model}"
            f"{' (simulated: nothing is paid)' if run_plan.is_simulated else ''}"
        ),
        f"  requests  {_format_requests(run_plan)}",
    ]
    if run_plan.new:
        error = f" ± {max(tokens['error'], 0.001):.1%}" if tokens["error"] else ""
        is_told = run_plan.reused or run_plan.duplicates or list(run_plan.reasons) != ["data"]
        lines += [
            *(_format_reason(reason, share) for reason, share in run_plan.reasons.items() if is_told),
            f"  input     {tokens['value']:,} tokens{error}, {tokens['method']}",
            f"  output    {output['expected']:,} tokens, {output['method']}; maximum {output['max']:,}",
            f"  time      {run_plan.duration}",
            *_format_ways(run_plan),
        ]
    if run_plan.mode_reason:
        lines.append(
            f"  mode      {'synchronously' if run_plan.mode == 'sync' else 'in batches'}, {run_plan.mode_reason}"
        )
    if run_plan.unfinished_run is not None:
        lines.append(f"  unfinished run {run_plan.unfinished_run} of this spec")
    return "\n".join([*lines, *map(str, run_plan.findings)])


def _format_reason(reason: str, share: dict[str, Any]) -> str:
    return f"            {share['rows']:,} ({format_dollars(share['cost'])}) because {_REASON_LABELS[reason]}"


def _format_ways(run_plan: Plan) -> Iterator[str]:
    """Yield the table of the ways to send a run: expected time, expected cost, name."""
    amounts = [format_dollars(way.cost) for way in run_plan.ways]
    most, times = format_dollars(run_plan.cost["max"]), [describe_span(way.seconds) for way in run_plan.ways]
    longest, widest = max(map(len, times)), max(map(len, ("cost", *amounts, most)))
    yield f"  ways      {'time':{longest}}  {'cost':>{widest}}"
    for way, time, amount in zip(run_plan.ways, times, amounts, strict=True):
        mark = f"  cheapest: {run_plan.cheapest_reason}" if way.name == run_plan.cheapest else ""
        missed = "  misses the deadline" if way.meets_deadline is False else ""
        yield f"            {time:{longest}}  {amount:>{widest}}  {_MODE_LABELS[way.name]}{mark}{missed}"
    cap = f", capped at {format_dollars(run_plan.max_cost)}" if run_plan.max_cost is not None else ""
    yield f"            {'':{longest}}  {most:>{widest}}  maximum{cap}"
