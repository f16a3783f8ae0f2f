"""The text of the plans of several specs: one table with a total."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from runner.lifecycle.plan.plan import Plan
from runner.pricing.rates import format_cap, format_dollars
from runner.rules.finding import Finding
from runner.spec.variant_names import split_name
from runner.text import pluralize


@dataclass(frozen=True, slots=True)
class PlanRow:
    """A spec in the table: its plan, if it has one now, and a note."""

    spec: str
    plan: Plan | None
    note: str = ""


_HEADINGS = ("spec", "rows", "to send", "reused", "estimated", "maximum")


def format_plans(rows: Sequence[PlanRow], *, show: Callable[[Finding], str] = str) -> str:
    """Return the table, and below it what their pilots send and all findings, as `show` shows each."""
    plans = [row.plan for row in rows if row.plan is not None]
    cells = [
        _HEADINGS,
        *(_cells(row.spec, [row.plan] if row.plan else []) for row in rows),
        _cells("total", plans),
    ]
    widths = [max(len(line[index]) for line in cells) for index in range(len(_HEADINGS))]
    notes = ["", *(_format_note(row) for row in rows), ""]
    lines = [_format_line(line, widths, note) for line, note in zip(cells, notes, strict=True)]
    lines += [f"  {row.spec}: {row.plan.pilot}" for row in rows if row.plan is not None and row.plan.pilot]
    findings = [show(finding) for plan in plans for finding in plan.findings]
    kind = "variant" if all(split_name(row.spec)[1] is not None for row in rows) else "spec"
    return "\n".join([f"plan of {pluralize(len(rows), kind)}", *lines, *findings])


def _cells(name: str, plans: Sequence[Plan]) -> tuple[str, ...]:
    if not plans and name != "total":
        return (name, *[""] * (len(_HEADINGS) - 1))
    counts = (
        sum(plan.rows for plan in plans),
        sum(plan.new for plan in plans),
        sum(plan.reused + plan.duplicates for plan in plans),
    )
    amounts = (
        _total(plan.estimated_cost if plan.new else 0.0 for plan in plans),
        _total(plan.cost["max"] if plan.new else 0.0 for plan in plans),
    )
    return (name, *(f"{count:,}" for count in counts), *map(format_dollars, amounts))


def _total(amounts: Iterable[float | None]) -> float | None:
    found = list(amounts)
    known = [amount for amount in found if amount is not None]
    return sum(known) if len(known) == len(found) else None


def _format_note(row: PlanRow) -> str:
    notes = [row.note] if row.note else []
    if row.plan is not None and row.plan.new:
        batches = pluralize(row.plan.batches, "batch")
        notes.append("synchronously" if row.plan.mode == "sync" else f"in {batches}")
        if row.plan.max_cost is not None:
            shared = " with the other variants" if split_name(row.spec)[1] is not None else ""
            notes.append(f"capped at {format_cap(row.plan.max_cost)}{shared}")
    if row.plan is not None and row.plan.rejected:
        notes.append(f"{row.plan.rejected:,} rejected")
    return ", ".join(notes)


def _format_line(cells: Sequence[str], widths: Sequence[int], note: str) -> str:
    name, *numbers = cells
    if not any(numbers):
        return f"  {name:{widths[0]}}  {note}".rstrip()
    shown = [f"{cell:>{width}}" for cell, width in zip(numbers, widths[1:], strict=True)]
    return "  ".join(["", f"{name:{widths[0]}}", *shown, note]).rstrip()
