"""The figures equal those of scikit-learn, and those that are printed in papers."""

import random
from collections import Counter

import pytest

from runner.evaluation.metrics import score_classes, wilson_interval

LABELS = ["bug", "billing", "howto", "other", "spam"]


def draw(seed: int) -> list[tuple[str, str]]:
    """Some expected and actual classes; not every class is expected, or answered."""
    numbers = random.Random(seed)
    names = LABELS[: numbers.randint(1, 5)]
    return [(numbers.choice(names), numbers.choice(LABELS)) for _ in range(numbers.randint(1, 60))]


@pytest.mark.parametrize("seed", range(200))
def test_class_scores_equal_scikit_learn(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    pairs = draw(seed)
    expected, actual = zip(*pairs, strict=True)
    scores = score_classes(Counter(pairs))
    names = [score.name for score in scores]
    figures = metrics.precision_recall_fscore_support(expected, actual, labels=names, zero_division=float("nan"))
    ours = zip(*((one.precision, one.recall, one.f1, one.support) for one in scores), strict=True)
    for mine, theirs in zip(ours, figures, strict=True):
        assert [float("nan") if one is None else one for one in mine] == pytest.approx(list(theirs), nan_ok=True)


@pytest.mark.parametrize("seed", range(200))
def test_confusion_equals_that_of_scikit_learn(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    pairs = draw(seed)
    counted = Counter(pairs)
    theirs = metrics.confusion_matrix(*zip(*pairs, strict=True), labels=LABELS)
    assert [[counted[row, column] for column in LABELS] for row in LABELS] == theirs.tolist()
    right = sum(counted[name, name] for name in LABELS)
    assert right / len(pairs) == pytest.approx(metrics.accuracy_score(*zip(*pairs, strict=True)))


def test_row_without_an_answer_lowers_recall_alone() -> None:
    [score] = score_classes({("bug", "bug"): 3, ("bug", None): 1})
    assert (score.precision, score.recall, score.support) == (1.0, 0.75, 4)
    assert score.f1 == pytest.approx(6 / 7)


def test_figures_of_a_class_without_rows_are_unknown() -> None:
    scores = {score.name: score for score in score_classes({("bug", "howto"): 2})}
    assert (scores["howto"].recall, scores["howto"].precision, scores["howto"].f1) == (None, 0.0, 0.0)
    assert (scores["bug"].recall, scores["bug"].precision, scores["bug"].f1) == (0.0, None, 0.0)


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    [
        # R. Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (20, 20, 0.8389, 1.0),
    ],
)
def test_wilson_interval_is_that_of_the_literature(right: int, total: int, low: float, high: float) -> None:
    assert wilson_interval(right, total) == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_holds_the_share() -> None:
    for total in range(1, 200):
        for right in range(total + 1):
            low, high = wilson_interval(right, total)
            assert 0 <= low <= right / total <= high <= 1
