"""Compare the answers of a run with their labels, row by row."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from runner.evaluation.class_table import ClassTable
from runner.evaluation.matching import CLASS_KEYS, make_match, to_number, to_text
from runner.evaluation.metrics import score_classes, wilson_interval
from runner.evaluation.score import Confused, Score
from runner.spec.spec import Evaluation
from runner.templates.expressions import compile_expression, compile_filtered_path

LABEL_NAMES = ("row", "key", "vars")
"""The names that the expression of a label may use."""

ANSWER_NAMES = ("output", *LABEL_NAMES)
"""The names that the expression of an answer may use."""

UNUSABLE = object()
"""Stands for a label that cannot be computed, or is no number where one is needed."""

Labels = tuple[Any, ...]
"""The labels of a row, one for each evaluation: None without one, or `UNUSABLE`."""

Wrong = dict[str, dict[str, Any]]
"""The evaluations that a row misses: the `expected` and the `actual` value by their names."""


class Answer(NamedTuple):
    """The answer to a row: its output, and whether that is valid; without a valid one no label is met."""

    key: str | int
    row: Mapping[str, Any]
    output: Any
    is_valid: bool


class Evaluator:
    """Counts the right answers of each evaluation. Memory does not grow with the rows.

    Raises ExpressionError if an expression is invalid.
    """

    def __init__(self, evaluations: Sequence[Evaluation], vars: Mapping[str, Any]) -> None:
        self._parts = [_Part(one) for one in evaluations]
        self._vars = vars

    def __bool__(self) -> bool:
        return bool(self._parts)

    def read_labels(self, key: str | int, row: Mapping[str, Any]) -> Labels:
        """Return the labels of a row, as its fields have them."""
        names = {"row": row, "key": key, "vars": self._vars}
        return tuple(part.read_label(names) for part in self._parts)

    def add(self, answer: Answer, labels: Labels) -> Wrong:
        """Count the answer to a row with these labels, and return the evaluations that it misses."""
        names = {"output": answer.output, "row": answer.row, "key": answer.key, "vars": self._vars}
        wrong: Wrong = {}
        for part, label in zip(self._parts, labels, strict=True):
            if label is UNUSABLE:
                part.unusable_labels += 1
            elif label is not None:
                actual = part.read_actual(names) if answer.is_valid else None
                if not part.add(label, actual, is_answered=answer.is_valid):
                    wrong[part.name] = {"expected": label, "actual": actual}
        return wrong

    def add_row(self, answer: Answer) -> Wrong:
        """Count the answer to a row that has its labels in its own fields."""
        return self.add(answer, self.read_labels(answer.key, answer.row))

    def scores(self) -> list[Score]:
        """Return the score of each evaluation so far."""
        return [part.score() for part in self._parts]


def _to_plain(value: Any) -> Any:
    """Return a value that was computed as JSON has it. Raises ValueError for one that JSON does not have."""
    if value is None or isinstance(value, str | int):
        return str(value) if isinstance(value, str) else value
    try:
        return msgspec.json.decode(msgspec.json.encode(value))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"not plain data: {error}") from error


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


class _Part:
    """One evaluation: its compiled expressions, and what was counted so far."""

    def __init__(self, evaluation: Evaluation) -> None:
        self.name, self._rule = evaluation.name, evaluation.rule
        self.unusable_labels = 0
        self._min_accuracy = evaluation.min_accuracy
        self._labelled = self._right = self._unanswered = self._measured = 0
        self._sum_of_errors = Decimal()
        self._expected = compile_expression(evaluation.expected, names=LABEL_NAMES)
        # A filter such as `float` makes a number of a cell that is empty.
        self._cell = compile_filtered_path(evaluation.expected)
        self._actual = compile_expression(evaluation.actual, names=ANSWER_NAMES)
        self._within = None if evaluation.within is None else to_number(evaluation.within)
        self._match = make_match(evaluation.match)
        is_class = evaluation.match in CLASS_KEYS and self._within is None
        self._class_key: Callable[[Any], str] | None = CLASS_KEYS[evaluation.match] if is_class else None
        self._classes = ClassTable()

    def read_label(self, names: Mapping[str, Any]) -> Any:
        """Return the label of a row; None without one, and `UNUSABLE` if it cannot be computed."""
        if self._cell is not None and _is_blank(self._cell(names)):
            return None
        try:
            label = _to_plain(self._expected(names))
            if not _is_blank(label) and self._within is not None:
                to_number(label)
        except ValueError:
            return UNUSABLE
        return None if _is_blank(label) else label

    def read_actual(self, names: Mapping[str, Any]) -> Any:
        """Return the value of an answer; None if it cannot be computed."""
        try:
            return _to_plain(self._actual(names))
        except ValueError:
            return None

    def add(self, label: Any, actual: Any, *, is_answered: bool) -> bool:
        """Count a labelled row, and return whether its answer is right."""
        self._labelled += 1
        self._unanswered += not is_answered
        is_right = is_answered and self._is_right(label, actual)
        self._right += is_right
        if self._class_key is not None:
            classes = [(self._class_key(value), to_text(value)) for value in (label, actual)]
            self._classes.add(classes[0], classes[1] if is_answered else None)
        return is_right

    def _is_right(self, label: Any, actual: Any) -> bool:
        if self._within is None:
            return self._match(label, actual)
        try:
            error = abs(to_number(label) - to_number(actual))
        except ValueError:
            return False
        self._measured += 1
        self._sum_of_errors += error
        return error <= self._within

    def score(self) -> Score:
        """Return the score of what was counted."""
        total, table = self._labelled, self._classes
        has_classes = self._class_key is not None and total > 0 and not table.is_full
        confusion = table.confusion()
        pairs = [Confused(expected, actual, rows) for (expected, actual), rows in confusion.items()]
        return Score(
            name=self.name,
            labelled=total,
            right=self._right,
            unanswered=self._unanswered,
            accuracy=self._right / total if total else None,
            interval=wilson_interval(self._right, total) if total else None,
            min_accuracy=self._min_accuracy,
            unusable_labels=self.unusable_labels,
            mean_error=float(self._sum_of_errors / self._measured) if self._measured else None,
            classes=score_classes(confusion) if has_classes else None,
            confusion=sorted(pairs, key=lambda pair: -pair.rows) if has_classes else None,
            has_many_classes=table.is_full,
            rule=self._rule,
        )
