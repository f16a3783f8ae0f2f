"""The text that compares the variants of a spec: a table, what differs from the best, and which one to take."""

from runner.cli.echo import escape_line
from runner.cli.texts.evaluation import align_columns
from runner.lifecycle.judge.compare_variants import VariantComparison
from runner.report.variants import (
    conclude_variants,
    count_variants,
    describe_contrasts,
    describe_left_out,
    list_cells,
    name_columns,
)


def format_variants(found: VariantComparison) -> str:
    """Return the comparison of variants, which ends with the cheapest one that is not worse."""
    if not found.variants:
        title, lines = f"{found.spec}: the variants cannot be compared", list(describe_left_out(found))
        return "\n".join(map(escape_line, [title, *(f"  {line}" for line in lines)]))
    title = f"{'pilots of ' if found.is_pilot else ''}{found.spec}: {count_variants(found)}"
    rows = [name_columns(found), *map(list_cells, found.variants)]
    notes = [*describe_contrasts(found.variants), *describe_left_out(found), conclude_variants(found)]
    lines = [
        f"{title}{' (simulated)' if found.is_simulated else ''}",
        *align_columns(rows, names=2),
        *(f"  {line}" for line in notes),
    ]
    return "\n".join(map(escape_line, lines))
