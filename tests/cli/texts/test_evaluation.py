"""The text of `evaluate`: a table of few classes, the most frequent confusions of many, and no table of texts."""

from collections.abc import Iterable

from runner.cli.texts.evaluation import format_evaluation
from runner.evaluation.evaluator import Answer, Evaluator
from runner.lifecycle.maintain.evaluate import EvaluatedRun
from runner.spec.spec import Evaluation


def text_of(pairs: Iterable[tuple[str, str | None]], *, unread: str | None = None) -> list[str]:
    """The lines about a run with these expected and actual labels; the answer of None is not valid."""
    evaluator = Evaluator([Evaluation("label", "row.gold", "output")], {})
    for expected, actual in pairs:
        evaluator.add_row(Answer(1, {"gold": expected}, actual, is_valid=actual is not None))
    run = EvaluatedRun("t1", "job", 3, None, None, unread, evaluator.scores(), is_simulated=False)
    return format_evaluation(run).splitlines()


def test_few_classes_have_a_table() -> None:
    assert text_of([("bug", "bug"), ("bug", "howto"), ("billing", None)]) == [
        "job: run t1, 3 rows",
        "  labels  as the run read them",
        "  scores  label  33.3 % right (6.1 to 79.2), 1 of 3 labelled rows; 1 unanswered",
        "",
        "label:",
        "  expected  precision  recall     F1  rows",
        "  bug           1.000   0.500  0.667     2",
        "  billing           -   0.000  0.000     1",
        "  howto         0.000       -  0.000     0",
        "",
        "  answered:  bug  billing  howto  (unanswered)",
        "  bug          1        0      1             0",
        "  billing      0        0      0             1",
        "  howto        0        0      0             0",
    ]


def test_many_classes_have_their_confusions() -> None:
    right = [(f"class {number}", f"class {number}") for number in range(9)]
    lines = text_of([*right, ("class 1", "class 2"), ("class 1", "class 2"), ("class 3", None)])
    assert lines[-3:] == [
        "  expected  answered      rows",
        "  class 1   class 2          2",
        "  class 3   (unanswered)     1",
    ]
    assert text_of(right)[-1].startswith("  class 8 ")


def test_further_confusions_are_counted() -> None:
    lines = text_of([(f"class {number}", "other") for number in range(30)])
    assert lines[-1] == "  and 10 rows of 10 other pairs"


def test_texts_have_no_table() -> None:
    lines = text_of([(f"text {number}", "") for number in range(51)])
    assert lines[-1].startswith("label: no table, because there are more than 50 different values")


def test_source_that_cannot_be_read_is_named() -> None:
    lines = text_of([("a", "a")], unread="rows.csv: cannot read: No such file or directory")
    assert lines[1] == "  labels  as the run read them: rows.csv: cannot read: No such file or directory"


def test_hostile_label_stays_on_its_line() -> None:
    lines = text_of([("a\nb\x1b[31m", "c")])
    assert "  a b\\u001b[31m" in " ".join(lines) and not any("\x1b" in line for line in lines)
