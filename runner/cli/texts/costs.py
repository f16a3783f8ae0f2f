"""The text about the costs of a project: a table with a total."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from runner.cli.echo import escape_line
from runner.lifecycle.maintain.costs import Amount, CostGroup, Costs
from runner.pricing.rates import format_dollars
from runner.text import pluralize


def format_costs(costs: Costs) -> str:
    """Return the table, with what is not in its sums below it."""
    name = costs.by.removeprefix("label:")
    cells = [
        (name, "runs", "rows", "paid", "estimated", "saved"),
        *map(_format_cells, costs.groups),
        _format_cells(costs.total),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [_format_line(line, widths) for line in cells]
    return "\n".join(map(escape_line, [_format_title(costs), *lines, *_format_notes(costs.total)]))


def _format_title(costs: Costs) -> str:
    since = (
        ""
        if costs.since is None
        else datetime.fromtimestamp(costs.since, UTC).strftime(" since %Y-%m-%d %H:%M UTC")
    )
    note = " (simulated: nothing was paid)" if costs.is_simulated else ""
    return f"costs of {pluralize(costs.total.runs, 'run')}{since}{note}"


def _format_cells(group: CostGroup) -> tuple[str, ...]:
    amounts = map(_format_amount, (group.paid, group.estimated, group.saved))
    return (group.name, f"{group.runs:,}", f"{group.rows:,}", *amounts)


def _format_amount(amount: Amount) -> str:
    if amount.known is None:
        return "unknown"
    return f"{'at least ' if amount.unknown else ''}{format_dollars(amount.known)}"


def _format_line(cells: Sequence[str], widths: Sequence[int]) -> str:
    name, *numbers = cells
    shown = [f"{cell:>{width}}" for cell, width in zip(numbers, widths[1:], strict=True)]
    return "  ".join(["", f"{name:{widths[0]}}", *shown]).rstrip()


def _format_notes(total: CostGroup) -> Iterator[str]:
    if total.paid.unknown:
        yield (
            f"what {pluralize(total.paid.unknown, 'run')} cost is unknown: no price is known for the model, or "
            "results are lost or could not be read; `prices` in a spec sets the prices of its next runs"
        )
    if total.in_flight:
        yield f"{pluralize(total.in_flight, 'batch')} in progress: not counted until collected"
    if total.doubted:
        yield f"up to {format_dollars(total.doubted)} besides, for batches that may have been paid twice"
