"""Texts of plans, summaries and tables, for people."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from runner.cli.echo import to_cell
from runner.lifecycle.maintain.unknown_batches import UnknownBatch
from runner.lifecycle.plan.plan import Plan
from runner.lifecycle.plan.speed import describe_span
from runner.pricing.rates import round_up_cost
from runner.runs.find import RunInfo
from runner.runs.summary import Summary
from runner.text import pluralize

if TYPE_CHECKING:
    from rich.table import Table


def format_size(count: float) -> str:
    """Format a number of bytes with its unit."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def format_duration(seconds: float) -> str:
    """Format a number of seconds, in minutes and hours if it is long."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def format_states(summary: Summary) -> str:
    """Return the number of batches in each state."""
    counts: dict[str, int] = {}
    for batch in summary.batches:
        counts[batch["state"]] = counts.get(batch["state"], 0) + 1
    return ", ".join(f"{count:,} {state}" for state, count in counts.items()) or "none yet"


def format_outcomes(summary: Summary) -> str:
    """Return the number of rows with each outcome."""
    return ", ".join(f"{count:,} {outcome}" for outcome, count in summary.outcomes.items()) or "none yet"


def _format_destination(sink: Mapping[str, Any]) -> str:
    """Return the destination of a sink; a path below the working folder is shown relative to it."""
    table = f" {sink['table']}" if "table" in sink else ""
    return _relative_path(str(sink["path"])) + table


def _relative_path(path: str) -> str:
    relative = path if "://" in path else os.path.relpath(path)
    return path if relative.startswith("..") else relative


def _format_cost(summary: Summary) -> Iterator[str]:
    cost = summary.cost
    if summary.unreadable_usage:
        fields = ", ".join(summary.unreadable_usage)
        most = f", at most {format_dollars(cost['max'])}" if cost["max"] is not None else ""
        yield f"  cost    unknown{most}; unreadable in the API's usage: {fields}"
    if cost["actual"] is None:
        return
    estimate = f", estimated {format_dollars(cost['estimated'])}" if cost["estimated"] is not None else ""
    saved = f"; saved {format_dollars(cost['saved'])} compared to synchronous requests" if cost["saved"] else ""
    yield f"  cost    {format_dollars(cost['actual'])}{estimate}{saved}"


def _format_missing(summary: Summary) -> Iterator[str]:
    if missing := sum(batch.get("missing_results", 0) for batch in summary.batches):
        yield (
            f"  missing {pluralize(missing, 'row')} without a result, though the API counted them as processed: "
            "they count as paid.\n"
            "          They are sent, and paid, again only with `missing` in retry.on or with --new"
        )


def format_doubts(summary: Summary) -> Iterator[str]:
    """Yield a line about the batches that may have been paid twice, if there are any."""
    doubted = [batch for batch in summary.batches if "doubted_cost" in batch]
    if doubted:
        round, number = doubted[0]["round"], doubted[0]["batch"]
        name = f"batch {number}" if round == 1 else f"batch {number} of round {round}"
        what = name if len(doubted) == 1 else pluralize(len(doubted), "batch")
        most = format_dollars(sum(batch["doubted_cost"] for batch in doubted))
        yield f"{what} may have been paid twice: up to {most}"


def format_conclusion(summary: Summary, *, is_simulated: bool) -> str:
    """Return the summary of a finished run: outcomes, duration, tokens, cost and outputs."""
    took = format_duration(summary.seconds) + (" (simulated)" if is_simulated else "")
    lines = [
        f"{summary.spec}: {pluralize(summary.rows, 'row')}, {format_outcomes(summary)}, in {took}",
        f"  run     {summary.run}",
        f"  tokens  {summary.usage['input_tokens']:,} in, {summary.usage['output_tokens']:,} out",
        *_format_cost(summary),
        *_format_missing(summary),
        *(f"  doubt   {line}" for line in format_doubts(summary)),
    ]
    paths = [_format_destination(sink) for sink in summary.sinks]
    width = max(map(len, paths), default=0)
    for index, (path, sink) in enumerate(zip(paths, summary.sinks, strict=True)):
        lines.append(f"  {'' if index else 'wrote':6}  {path:{width}}  {pluralize(sink['rows'], 'row')}")
    kept = [_relative_path(sink["instead_of"]) for sink in summary.sinks if "instead_of" in sink]
    lines += [f"  {'' if index else 'kept':6}  {path}, which is complete" for index, path in enumerate(kept)]
    return "\n".join(lines)


def format_unfinished(summary: Summary, command: str) -> str:
    """Return the message about an unfinished run, with the command that resumes it."""
    doubts = "".join(f"  {line}\n" for line in format_doubts(summary))
    return (
        f"{summary.spec}: run {summary.run} is unfinished (batches: "
        f"{format_states(summary)}); nothing was canceled\n"
        f"{doubts}  resume with: {command}"
    )


def format_unknown_batch(batch: UnknownBatch) -> str:
    """Describe a batch whose creation got no response, and the remote batches that could be it."""
    sent_at = datetime.fromtimestamp(batch.intent_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    lines = [
        (
            f"{batch.name} ({pluralize(batch.requests, 'request')}), sent at {sent_at}: "
            "unknown whether it was accepted"
        )
    ]
    for remote in batch.candidates:
        created_at = datetime.fromtimestamp(remote.created_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        lines.append(f"  could be {remote.id}, created at {created_at}, {remote.processing_status}")
    if not batch.candidates:
        lines.append("  no batch in the workspace could be it")
    return "\n".join(lines)


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


def format_dollars(amount: float | None) -> str:
    """Format an amount in US dollars, rounded up."""
    if amount is None:
        return "unknown"
    return f"${math.ceil(amount * 100 - 1e-6) / 100:,.2f}" if amount >= 10 else f"${round_up_cost(amount):,.4f}"


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
        f"{run_plan.spec}: {pluralize(run_plan.rows, 'row')} for {run_plan.model}",
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


def _format_actual_cost(summary: Summary) -> str:
    if summary.unreadable_usage:
        return "unknown"
    return "" if summary.cost["actual"] is None else format_dollars(summary.cost["actual"])


def build_runs_table(found: Sequence[RunInfo]) -> "Table":
    """Return a table of runs."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("run", "spec", "state", "rows", "outcomes", "batches", "cost", ""):
        table.add_column(name, justify="right" if name in ("rows", "cost") else "left")
    for run in found:
        summary = run.summary
        note = "simulated" if run.is_simulated else ""
        table.add_row(
            summary.run,
            to_cell(summary.spec),
            summary.state,
            f"{summary.rows:,}",
            format_outcomes(summary),
            format_states(summary),
            _format_actual_cost(summary),
            note,
        )
    return table
