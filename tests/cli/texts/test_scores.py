"""The line of a score says how sure its figure is, and what is not in order."""

import pytest

from runner.cli.texts.scores import format_score, format_scores
from runner.evaluation.metrics import wilson_interval
from runner.evaluation.score import Score

SCORE = Score("label", 200, 185, 3, 0.925, wilson_interval(185, 200), min_accuracy=0.95)


def test_line_says_share_interval_unanswered_and_threshold() -> None:
    text = "92.5 % right (88.0 to 95.4), 185 of 200 labelled rows; 3 unanswered; below 95 %"
    assert format_score(SCORE) == text


@pytest.mark.parametrize(
    ("score", "text"),
    [
        (Score("label", 0, 0, 0, None, None, min_accuracy=0.5), "no labelled rows"),
        (
            Score("total", 1, 1, 0, 1.0, (0.2, 1.0), 1.0, unusable_labels=2, mean_error=0.00321),
            "100.0 % right (20.0 to 100.0), 1 of 1 labelled row; 2 labels cannot be used; mean error 0.00321",
        ),
    ],
)
def test_line_of_other_scores(score: Score, text: str) -> None:
    assert format_score(score) == text


def test_names_are_aligned_and_simulated_scores_marked() -> None:
    lines = list(format_scores([SCORE, Score("vendor_name", 0, 0, 0, None, None)], is_simulated=True))
    assert lines[1] == "          vendor_name  no labelled rows (simulated)"
    assert lines[0].startswith("  scores  label        92.5 %")
