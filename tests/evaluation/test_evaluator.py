"""Answers are counted as right, wrong or unanswered, and only rows with a label count."""

import tracemalloc
from typing import Any

import msgspec
import pytest

from runner.evaluation.class_table import MAX_CLASSES, MAX_NAME_CHARS
from runner.evaluation.evaluator import Answer, Evaluator, Wrong
from runner.evaluation.metrics import wilson_interval
from runner.evaluation.score import Confused, Score, without_values
from runner.spec.spec import Evaluation


def evaluation(**settings: Any) -> Evaluation:
    return Evaluation(**{"name": "label", "expected": "row.gold", "actual": "output.label", **settings})


def answer(gold: Any, label: Any, *, is_valid: bool = True) -> Answer:
    return Answer("k", {"gold": gold}, {"label": label}, is_valid)


def evaluate(*answers: Answer, **settings: Any) -> tuple[Score, list[Wrong]]:
    evaluator = Evaluator([evaluation(**settings)], {"none": "nothing"})
    wrong = [evaluator.add_row(one) for one in answers]
    [score] = evaluator.scores()
    return score, wrong


@pytest.mark.parametrize("blank", [None, "", " \t"])
def test_row_without_a_label_does_not_count(blank: str | None) -> None:
    absent = Answer("k", {}, {"label": "bug"}, is_valid=True)
    score, wrong = evaluate(answer(blank, "bug"), answer("bug", "bug"), absent)
    assert (score.labelled, score.right, score.accuracy) == (1, 1, 1.0)
    assert wrong == [{}, {}, {}]


def test_wrong_row_tells_expected_and_actual() -> None:
    score, wrong = evaluate(answer("bug", "howto"), answer("bug", "bug"), answer("bug", "bug"))
    assert wrong == [{"label": {"expected": "bug", "actual": "howto"}}, {}, {}]
    assert (score.right, score.accuracy, score.interval) == (2, 2 / 3, wilson_interval(2, 3))


def test_row_without_a_valid_answer_is_wrong() -> None:
    score, wrong = evaluate(answer("bug", "bug"), answer("bug", "bug", is_valid=False), min_accuracy=0.9)
    assert (score.labelled, score.right, score.unanswered, score.is_missed) == (2, 1, 1, True)
    assert wrong[1] == {"label": {"expected": "bug", "actual": None}}
    assert score.confusion == [Confused("bug", "bug", 1), Confused("bug", None, 1)]


@pytest.mark.parametrize(("least", "is_missed"), [(None, False), (0.5, False), (0.51, True)])
def test_threshold_is_missed_below_it(least: float | None, is_missed: bool) -> None:
    score, _ = evaluate(answer("a", "a"), answer("a", "b"), min_accuracy=least)
    assert score.is_missed is is_missed


def test_nothing_is_missed_without_labels() -> None:
    score, _ = evaluate(answer("", "b"), min_accuracy=1.0)
    assert (score.accuracy, score.interval, score.classes, score.is_missed) == (None, None, None, False)


def test_filter_makes_no_label_of_an_empty_cell() -> None:
    answers = [answer("", 0), answer("2", 2)]
    score, _ = evaluate(*answers, expected="row.gold | float", within=0)
    assert (score.labelled, score.right) == (1, 1)
    score, _ = evaluate(*answers, expected="row.gold | default('0', true)", within=0)
    assert (score.labelled, score.right) == (2, 2)


def test_numbers_may_differ_by_a_tolerance() -> None:
    # As binary fractions, 0.3 and 0.29 differ by more than 0.01.
    answers = [answer("0.3", 0.29), answer("0.3", 0.28), answer("0.3", None), answer("0.3", 9, is_valid=False)]
    score, wrong = evaluate(*answers, within=0.01)
    assert [bool(one) for one in wrong] == [False, True, True, True]
    assert score.mean_error == pytest.approx(0.015)
    assert (score.unanswered, score.classes) == (1, None)


def test_label_that_is_no_number_is_counted_apart() -> None:
    score, wrong = evaluate(answer("n/a", 3), answer("3", 3), within=0)
    assert (score.labelled, score.unusable_labels, wrong[0]) == (1, 1, {})


@pytest.mark.parametrize("expression", ["row.gold + 1", "[row.gold.upper]"])
def test_label_that_cannot_be_computed_is_unusable(expression: str) -> None:
    score, _ = evaluate(answer("a", "a"), expected=expression)
    assert (score.labelled, score.unusable_labels) == (0, 1)


def test_answer_that_cannot_be_computed_is_wrong() -> None:
    score, wrong = evaluate(answer("a", "a"), actual="output.label + 1")
    assert (score.labelled, score.unanswered, wrong) == (1, 0, [{"label": {"expected": "a", "actual": None}}])


def test_variables_and_key_are_known() -> None:
    score, _ = evaluate(answer("", "nothing"), expected="vars.none")
    assert score.right == 1
    score, _ = evaluate(answer("", "k"), expected="key", actual="row.gold or output.label")
    assert score.right == 1


def test_classes_are_folded_and_shown_as_first_written() -> None:
    score, _ = evaluate(answer("Bug", "bug"), answer("BUG", "howto"), match="casefold")
    assert score.classes is not None
    assert [(one.name, one.support) for one in score.classes] == [("Bug", 2), ("howto", 0)]


@pytest.mark.parametrize("match", ["set", "json", "expected == actual"])
def test_other_matches_have_no_classes(match: str) -> None:
    score, _ = evaluate(answer("a", "a"), match=match)
    assert (score.right, score.classes, score.has_many_classes) == (1, None, False)


@pytest.mark.parametrize(
    "answers",
    [
        [answer(f"label {number}", "other") for number in range(MAX_CLASSES)],
        [answer("x" * (MAX_NAME_CHARS + 1), "x")],
    ],
)
def test_many_classes_or_texts_have_no_table(answers: list[Answer]) -> None:
    score, _ = evaluate(*answers, answer("a", "a"))
    assert (score.classes, score.confusion, score.has_many_classes, score.right) == (None, None, True, 1)


def test_fifty_classes_have_a_table() -> None:
    score, _ = evaluate(*(answer(str(number), number) for number in range(MAX_CLASSES)))
    assert len(score.classes or ()) == MAX_CLASSES


def test_score_survives_its_record() -> None:
    score, _ = evaluate(answer("a", "b"), answer("a", None), min_accuracy=0.5)
    assert msgspec.json.decode(msgspec.json.encode([score]), type=list[Score]) == [score]
    [kept] = without_values([score])
    assert (kept.right, kept.labelled, kept.classes, kept.confusion) == (0, 2, None, None)


def test_memory_does_not_grow_with_the_rows() -> None:
    evaluator = Evaluator([evaluation(), evaluation(name="n", within=1)], {})

    def add(first: int, last: int) -> int:
        for number in range(first, last):
            evaluator.add_row(answer(f"text {number}", number))
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        assert add(2_000, 4_000) - add(0, 2_000) < 20_000
    finally:
        tracemalloc.stop()
