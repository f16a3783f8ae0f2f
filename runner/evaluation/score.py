"""The score of an evaluation, as it is stored with a run and given to programs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from runner.evaluation.metrics import ClassScore


@dataclass(frozen=True, slots=True)
class Confused:
    """The number of labelled rows with these two classes; `actual` is None for rows without a valid answer."""

    expected: str
    actual: str | None
    rows: int


@dataclass(frozen=True, slots=True)
class Score:
    """The score of one evaluation.

    `labelled` counts the rows that have a label, `right` those of them whose answer is right, and `unanswered`
    those without a valid answer, which count as wrong. `accuracy` is the share of right ones, and `interval` its
    Wilson interval of 95 %; both are None without labels. `unusable_labels` counts labels that could not be
    computed or are no numbers: their rows do not count. `mean_error` is the mean absolute error of the numbers of
    an evaluation with `within`. `classes` and `confusion` are those of an evaluation whose values are classes;
    they are None if it `has_many_classes`. `rule` says what decides if an answer is right; it is empty in scores
    of older versions.
    """

    name: str
    labelled: int
    right: int
    unanswered: int
    accuracy: float | None
    interval: tuple[float, float] | None
    min_accuracy: float | None = None
    unusable_labels: int = 0
    mean_error: float | None = None
    classes: list[ClassScore] | None = None
    confusion: list[Confused] | None = None
    has_many_classes: bool = False
    rule: str = ""

    @property
    def is_missed(self) -> bool:
        """True if the accuracy is below `min_accuracy`, or if no label can be used; without labels none is."""
        if self.min_accuracy is None:
            return False
        if self.accuracy is None:
            return self.unusable_labels > 0
        return self.accuracy < self.min_accuracy


def encode_scores(scores: Sequence[Score]) -> str | None:
    """Return scores as they are stored with a run; None if the spec has no evaluations."""
    return msgspec.json.encode(scores).decode() if scores else None


def without_values(scores: Sequence[Score]) -> list[Score]:
    """Return scores with nothing of the rows and answers in them: without their classes and rules."""
    return [replace(score, classes=None, confusion=None, rule="") for score in scores]
