"""The text that compares the variants of a spec: a table, what differs from the best, and which one to take."""

from collections.abc import Iterator, Sequence

from runner.cli.echo import escape_line
from runner.cli.texts.evaluation import align_columns
from runner.cli.texts.scores import format_share
from runner.evaluation.score import Score
from runner.lifecycle.judge.compare_variants import (
    SIGNIFICANCE,
    ComparedVariant,
    Contrast,
    VariantComparison,
)
from runner.pricing.rates import format_dollars
from runner.text import pluralize


def format_variants(found: VariantComparison) -> str:
    """Return the comparison of variants, which ends with the cheapest one that is not worse."""
    if not found.variants:
        reasons = (f"  {name} is left out: {reason}" for name, reason in found.left_out.items())
        return "\n".join(map(escape_line, [f"{found.spec}: the variants cannot be compared", *reasons]))
    title = f"{'pilots of ' if found.is_pilot else ''}{found.spec}"
    counted = f"{pluralize(len(found.variants), 'variant')} on the same {pluralize(found.rows, 'row')}"
    note = " (simulated)" if found.is_simulated else ""
    names = [score.name for score in found.variants[0].evaluation]
    rows = [("variant", "model", "valid", *names, "1,000 rows"), *(_list_cells(one) for one in found.variants)]
    lines = [
        f"{title}: {counted}{note}",
        *align_columns(rows, names=2),
        *_describe_contrasts(found.variants),
        *(f"  {name} is left out: {reason}" for name, reason in found.left_out.items()),
        f"  {_conclude(found)}",
    ]
    return "\n".join(map(escape_line, lines))


def _list_cells(one: ComparedVariant) -> tuple[str, ...]:
    valid = f"{format_share(one.succeeded / one.rows)} %" if one.rows else "-"
    scores = (_format_accuracy(score) for score in one.evaluation)
    cost = "-" if one.cost_per_thousand is None else format_dollars(one.cost_per_thousand)
    return (one.variant, one.model, valid, *scores, cost)


def _format_accuracy(score: Score) -> str:
    if score.accuracy is None or score.interval is None:
        return "no labels"
    low, high = map(format_share, score.interval)
    return f"{format_share(score.accuracy)} % ({low} to {high})"


def _describe_contrasts(variants: Sequence[ComparedVariant]) -> Iterator[str]:
    """Yield, of each variant that is not the best, the rows in which it differs from the best."""
    for one in variants:
        for contrast in one.contrasts:
            if contrast.best != one.variant and contrast.only_best + contrast.only_own:
                yield f"  {contrast.criterion}: {_describe_contrast(one.variant, contrast)}"


def _describe_contrast(own: str, contrast: Contrast) -> str:
    best = contrast.best
    counts = f"{contrast.only_best:,} right only with {best}, {contrast.only_own:,} only with {own}"
    verdict = f"{own} is worse" if contrast.is_worse else "can be chance"
    return f"{counts}; {verdict} (p = {_format_p(contrast.p)})"


def _format_p(p: float) -> str:
    return "under 0.001" if p < 0.001 else f"{p:.2g}"


def _conclude(found: VariantComparison) -> str:
    if found.choice is None:
        return (
            "no variant is best: each is worse than another in some evaluation"
            if all(one.is_worse for one in found.variants)
            else "no cheapest variant can be named: a price is not known"
        )
    labelled = max((score.labelled for one in found.variants for score in one.evaluation), default=0)
    judged = pluralize(labelled, "labelled row") if labelled else "by valid answers, without labels"
    basis = f"{judged}, McNemar's test at {100 * SIGNIFICANCE:.0f} %"
    return f"{found.choice} is the cheapest variant that is not shown to be worse ({basis})"
