"""The texts about evaluations: a line for each score, for the summary of a run."""

from collections.abc import Iterator, Sequence

from runner.evaluation.score import Score
from runner.text import pluralize


def format_share(share: float) -> str:
    """Return a share in percent with one decimal place."""
    return f"{100 * share:.1f}"


def format_score(score: Score) -> str:
    """Return a score on one line: the share of right answers, its interval, and what else there is to say."""
    parts = ["no labelled rows"]
    if score.accuracy is not None and score.interval is not None:
        low, high = map(format_share, score.interval)
        counted = f"{score.right:,} of {pluralize(score.labelled, 'labelled row')}"
        parts = [f"{format_share(score.accuracy)} % right ({low} to {high}), {counted}"]
    if score.unanswered:
        parts.append(f"{score.unanswered:,} unanswered")
    if score.unusable_labels:
        parts.append(f"{pluralize(score.unusable_labels, 'label')} cannot be used")
    if score.mean_error is not None:
        parts.append(f"mean error {score.mean_error:.4g}")
    if score.is_missed and score.min_accuracy is not None:
        parts.append(f"below {100 * score.min_accuracy:.10g} %")
    return "; ".join(parts)


def format_scores(scores: Sequence[Score] | None, *, is_simulated: bool) -> Iterator[str]:
    """Yield a line for each score of a run. Invented answers are right by chance alone."""
    width = max((len(score.name) for score in scores or ()), default=0)
    note = " (simulated)" if is_simulated else ""
    for index, score in enumerate(scores or ()):
        yield f"  {'' if index else 'scores':6}  {score.name:{width}}  {format_score(score)}{note}"
