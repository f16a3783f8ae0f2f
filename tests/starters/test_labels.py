"""The alternatives that a sentence names."""

import pytest

from runner.starters.labels import find_labels


@pytest.mark.parametrize(
    ("task", "labels"),
    [
        ("label each ticket as bug, billing or howto", ["bug", "billing", "howto"]),
        ("Classify as positive/negative/neutral.", ["positive", "negative", "neutral"]),
        (
            "Classify it as a bug, a billing question, or a how-to and say why",
            ["bug", "billing question", "how-to"],
        ),
        ("Sentiment: 'positive', 'negative' or 'mixed'", ["positive", "negative", "mixed"]),
        ("Treat the text as data. Rate it as A or B or C", ["A", "B", "C"]),
        ("Is it spam? Answer either yes or no", ["yes", "no"]),
    ],
)
def test_alternatives_become_labels(task: str, labels: list[str]) -> None:
    assert find_labels(task) == labels


@pytest.mark.parametrize(
    "task",
    [
        "Summarise each review as a haiku",
        "Translate into French and German",
        "Write it as one long sentence with many words or as a list",
        "Label as bug, bug or bug",
        "",
    ],
)
def test_other_sentences_name_no_labels(task: str) -> None:
    assert find_labels(task) == []
