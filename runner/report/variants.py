"""The words of a comparison of variants: its table, what differs from the best, and which one to take."""

from collections.abc import Iterator, Sequence

from runner.evaluation.score import Score
from runner.lifecycle.judge.compare_variants import SIGNIFICANCE, ComparedVariant, Contrast, VariantComparison
from runner.pricing.rates import format_dollars
from runner.text import pluralize


def name_columns(found: VariantComparison) -> tuple[str, ...]:
    """Return the names of the columns of `list_cells`."""
    return ("variant", "model", "valid", *(score.name for score in found.variants[0].evaluation), "1,000 rows")


def list_cells(one: ComparedVariant) -> tuple[str, ...]:
    """Return the cells of a variant: its share of valid answers, its scores, and what 1,000 rows cost."""
    valid = f"{_format_share(one.succeeded / one.rows)} %" if one.rows else "-"
    scores = (_format_accuracy(score) for score in one.evaluation)
    cost = "-" if one.cost_per_thousand is None else format_dollars(one.cost_per_thousand)
    return (one.variant, one.model, valid, *scores, cost)


def _format_share(share: float) -> str:
    return f"{100 * share:.1f}"


def _format_accuracy(score: Score) -> str:
    if score.accuracy is None or score.interval is None:
        return "no labels"
    low, high = map(_format_share, score.interval)
    return f"{_format_share(score.accuracy)} % ({low} to {high})"


def count_variants(found: VariantComparison) -> str:
    """Return how many variants are compared on how many rows."""
    return f"{pluralize(len(found.variants), 'variant')} on the same {pluralize(found.rows, 'row')}"


def describe_contrasts(variants: Sequence[ComparedVariant]) -> Iterator[str]:
    """Yield, of each variant that is not the best, the rows in which it differs from the best."""
    for one in variants:
        for contrast in one.contrasts:
            if contrast.best != one.variant and contrast.only_best + contrast.only_own:
                yield f"{contrast.criterion}: {_describe_contrast(one.variant, contrast)}"


def _describe_contrast(own: str, contrast: Contrast) -> str:
    best = contrast.best
    counts = f"{contrast.only_best:,} right only with {best}, {contrast.only_own:,} only with {own}"
    verdict = f"{own} is worse" if contrast.is_worse else "can be chance"
    return f"{counts}; {verdict} (p = {_format_p(contrast.p)})"


def _format_p(p: float) -> str:
    return "under 0.001" if p < 0.001 else f"{p:.2g}"


def describe_left_out(found: VariantComparison) -> Iterator[str]:
    """Yield why variants are not compared."""
    yield from (f"{name} is left out: {reason}" for name, reason in found.left_out.items())


def conclude_variants(found: VariantComparison) -> str:
    """Return which variant to take, and by what that is judged."""
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
