"""The text of a plan."""

from collections.abc import Callable, Iterator
from typing import Any

from runner.lifecycle.plan.plan import Plan
from runner.lifecycle.plan.speed import describe_span
from runner.lifecycle.plan.ways import Way
from runner.pricing.rates import format_cap, format_dollars
from runner.rules.finding import Finding
from runner.text import format_size, pluralize

_MODE_LABELS = {
    "sync": "synchronously",
    "batch": "in batches",
    "batch_cache_5m": "in batches, cached 5 minutes",
    "batch_cache_1h": "in batches, cache not warmed",
    "batch_warm_1h": "in batches, cache warmed first",
}

_PLATFORMS = {"anthropic": "", "aws": " on AWS", "google": " on Google Cloud"}

_MANY_TOKENS = 20

_REASON_LABELS = {
    "data": "the row data is new or changed",
    "rest": "they were not in the pilot",
    "purged": "the answers of earlier runs were purged",
    "prompt": "the prompt has changed",
    "params": "the params have changed",
    "schema": "the output schema, or how it is sent, has changed",
    "again": "there is no result to reuse",
    "invalid": "the answer they have is not valid",
    "unfound": "no ended batch holds them: their answers came from earlier runs, or they were never sent",
}


def _format_requests(plan: Plan) -> str:
    reused = f", {plan.reused:,} reused" if plan.reused else ""
    duplicates = f", {pluralize(plan.duplicates, 'duplicate')}" if plan.duplicates else ""
    rejected = f", {plan.rejected:,} rejected" if plan.rejected else ""
    where = f" in {pluralize(plan.batches, 'batch')}" if plan.new and plan.mode != "sync" else ""
    to_send = f"{plan.new:,} to send{where}" if plan.new else "nothing to send"
    return f"{to_send}{reused}{duplicates}{rejected}"


def format_plan(plan: Plan, *, verbose: bool = False, show: Callable[[Finding], str] = str) -> str:
    """Return a plan as text: what a run would send and cost, and its findings, as `show` shows each.

    `verbose` adds what the estimates are based on.
    """
    lines = [
        (
            f"{plan.spec}: {pluralize(plan.rows, 'row')} for {plan.model}{_PLATFORMS[plan.platform]}"
            f"{' (simulated: nothing is paid)' if plan.is_simulated else ''}"
        ),
        f"  requests  {_format_requests(plan)}",
        *(_format_details(plan) if plan.new else _format_reuse(plan)),
    ]
    if plan.new and plan.accounts:
        lines.append(f"  accounts  {', '.join(plan.accounts)}")
    if plan.new and plan.mode_reason:
        lines.append(f"  mode      {'synchronously' if plan.mode == 'sync' else 'in batches'}, {plan.mode_reason}")
    if plan.new:
        lines += [*_format_cheapest(plan), *_format_ways(plan), *(_format_basis(plan) if verbose else ())]
    if plan.new and plan.schema:
        lines.append(f"  schema    {plan.schema}")
    if plan.unfinished_run is not None:
        lines.append(f"  pending   run {plan.unfinished_run} of this spec is unfinished")
    return "\n".join([*lines, *map(show, plan.findings)])


def _format_reuse(plan: Plan) -> Iterator[str]:
    """Yield, of a plan that sends nothing because answers are reused, what sends rows again."""
    if plan.reused:
        yield (
            "            identical requests were answered before: `reuse: false` in the spec sends all rows "
            "again, `runner retry` the failed ones"
        )


def _format_details(plan: Plan) -> Iterator[str]:
    """Yield why requests are new, what they cost, and how long they take."""
    if plan.reused or plan.duplicates or list(plan.reasons) != ["data"]:
        for reason, share in plan.reasons.items():
            amount = format_dollars(share["cost"])
            yield f"            {share['rows']:,} ({amount}) because {_REASON_LABELS[reason]}"
    if "schema" in plan.reasons and not plan.reused:
        yield "            `runner retry` keeps the answers that the new schema accepts, and sends only the others"
    yield f"  cost      {_format_cost(plan)}"
    if plan.cap_effect:
        yield f"            {plan.cap_effect}"
    if plan.pilot:
        yield f"  pilot     {plan.pilot}"
    if plan.attached is not None:
        yield f"  attached  {_format_attached(plan.attached)}"
    yield f"  time      {plan.duration}"


def _format_cost(plan: Plan) -> str:
    cap = f", capped at {format_cap(plan.max_cost)}" if plan.max_cost is not None else ""
    if plan.estimated_cost is None:
        return f"unknown: no price is known for {plan.model}{cap}"
    about, most = format_dollars(plan.estimated_cost), format_dollars(plan.cost["max"])
    return f"about {about}{_format_range(plan.cost_range)}, at most {most}{cap}"


def _format_range(limits: tuple[float, float] | None) -> str:
    """Return the limits of an expected cost, unless they look the same."""
    low, high = map(format_dollars, limits or (None, None))
    return "" if low == high else f" ({low} to {high})"


def _format_attached(attached: dict[str, Any]) -> str:
    """Return the documents, images, pages and bytes of a plan, and how much of its cost is for them."""
    nouns = {"documents": "document", "images": "image", "pages": "page"}
    parts = [pluralize(attached[name], noun) for name, noun in nouns.items() if attached[name]]
    if attached["bytes"]:
        parts.append(format_size(attached["bytes"]))
    if attached["unopened"]:
        parts.append(f"{attached['unopened']:,} of unknown size by URL or id")
    cost = "" if attached["cost"] is None else f": about {format_dollars(attached['cost'])} of the cost"
    return ", ".join(parts) + cost


def _format_cheapest(plan: Plan) -> Iterator[str]:
    if plan.cheapest is not None:
        own = ", as planned" if plan.cheapest == plan.way else ""
        yield f"  cheapest  {_MODE_LABELS[plan.cheapest]}{own}: {plan.cheapest_reason}"


def _format_ways(plan: Plan) -> Iterator[str]:
    """Yield the table of the ways to send a run: name, expected time, expected cost; a mark at the planned one."""
    ways = [way for way in plan.ways if way.name == plan.way or _is_distinct(plan, way)]
    rows = [(_MODE_LABELS[way.name], describe_span(way.seconds), format_dollars(way.cost)) for way in ways]
    name_width, time_width, cost_width = (max(map(len, column)) for column in zip(*rows, strict=True))
    label = "ways"
    for way, (name, time, cost) in zip(ways, rows, strict=True):
        missed = "  misses the deadline" if way.meets_deadline is False else ""
        mark = "*" if way.name == plan.way else " "
        yield f"  {label:8} {mark}{name:{name_width}}  {time:{time_width}}  {cost:>{cost_width}}{missed}"
        label = ""
    if plan.cache_basis:
        yield f"  cache     {plan.cache_basis}"


def _is_distinct(plan: Plan, way: Way) -> bool:
    """Return whether a way says something that the others do not: without a prefix to cache, most are the same."""
    is_cached = way.name.startswith(("batch_cache", "batch_warm"))
    return not is_cached or (bool(plan.cache_basis) and way.name != "batch_cache_5m")


def _format_answer(output: dict[str, Any]) -> str:
    """Return the tokens of an answer, and what they are based on."""
    digits = 0 if output["per_answer"] >= _MANY_TOKENS else 1
    mean, low, high = (output[name] for name in ("per_answer", "low", "high"))
    limits = "" if low is None else f" ({low:,.{digits}f} to {high:,.{digits}f})"
    return f"{mean:,.{digits}f} per answer{limits}, {output['method']}"


def _format_basis(plan: Plan) -> Iterator[str]:
    """Yield the tokens and bytes of a plan, and where the numbers come from."""
    tokens, output = plan.input_tokens, plan.output_tokens
    error = f" ± {max(tokens['error'], 0.001):.1%}" if tokens["error"] else ""
    yield f"  input     {tokens['value']:,} tokens{error}, {tokens['method']}"
    yield f"  output    {output['expected']:,} tokens: {_format_answer(output)}; maximum {output['max']:,}"
    yield f"  size      {format_size(plan.bytes)}"
