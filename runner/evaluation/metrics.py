"""Figures of classification: an interval for a share, and precision, recall and F1 of classes."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

_Z = 1.959963984540054
"""The quantile of the normal distribution for an interval of 95 %."""

Confusion = Mapping[tuple[str, str | None], int]
"""The number of rows by their expected and actual class; the actual class is None without an answer."""


@dataclass(frozen=True, slots=True)
class ClassScore:
    """The figures of one class: `support` counts the rows that are expected to have it.

    `precision` is None if no answer has the class, and `recall` if no row is expected to have it.
    """

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


def wilson_interval(right: int, total: int) -> tuple[float, float]:
    """Return the Wilson interval of 95 % for a share of `total` rows, of which there is at least one.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    share, square = right / total, _Z**2
    center = share + square / (2 * total)
    spread = _Z * math.sqrt(share * (1 - share) / total + square / (4 * total**2))
    scale = 1 + square / total
    # Rounding could put the ends just beside the share, or outside of 0 to 1.
    return max(0.0, min(share, (center - spread) / scale)), min(1.0, max(share, (center + spread) / scale))


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Return the probability of a difference at least as large by chance, of two judgements of the same rows.

    `only_first` rows are right only in the first, and `only_second` only in the second: the exact two-sided test.
    Q. McNemar, "Note on the sampling error of the difference between correlated proportions", 1947.
    """
    total, least = only_first + only_second, min(only_first, only_second)
    if only_first == only_second:
        return 1.0
    whole = math.lgamma(total + 1) - total * math.log(2)
    tail = sum(math.exp(whole - math.lgamma(k + 1) - math.lgamma(total - k + 1)) for k in range(least + 1))
    return min(1.0, 2 * tail)


def _divide(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def score_classes(confusion: Confusion) -> list[ClassScore]:
    """Return the figures of each class, the most frequent expected one first.

    A row without an answer lowers the recall of its class, and no precision.
    """
    expected, actual = Counter[str](), Counter[str]()
    for (wanted, given), rows in confusion.items():
        expected[wanted] += rows
        if given is not None:
            actual[given] += rows
    names = sorted({*expected, *actual}, key=lambda name: (-expected[name], name))
    return [_score_class(name, confusion.get((name, name), 0), expected[name], actual[name]) for name in names]


def _score_class(name: str, right: int, expected: int, actual: int) -> ClassScore:
    f1 = _divide(2 * right, expected + actual)
    return ClassScore(name, _divide(right, actual), _divide(right, expected), f1, expected)
