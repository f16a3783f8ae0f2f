"""`runner evaluate` and `show --wrong`: the answers of a run against labels and expressions of today."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import Summary
from tests.support.outputs import records
from tests.support.processes import RUN, Ended, command
from tests.support.projects import SPEC, write_job
from tests.support.simulator import accepted, simulator

ONCE = {"attempts": 1}
EVALUATION: dict[str, Any] = {"name": "label", "expected": "row.gold", "actual": "output.label"}
CSV = {"type": "csv", "path": "rows.csv", "key": "id"}


def write_rows(root: Path, labels: dict[int, str], *, rows: int = 20, column: str = "gold") -> None:
    lines = [f"r{number},text number {number},{labels.get(number, '')}\n" for number in range(1, rows + 1)]
    (root / "rows.csv").write_text(f"id,text,{column}\n" + "".join(lines))


def write_evaluated(root: Path, *evaluations: dict[str, Any], **changes: Any) -> None:
    """Write a job whose first ten rows have the label `good`."""
    write_job(root, evaluate=list(evaluations) or [EVALUATION], retry=ONCE, **changes)
    write_rows(root, dict.fromkeys(range(1, 11), "good"))


def evaluate(root: Path, *words: str) -> tuple[Ended, Any]:
    ended = command(root, {}, "evaluate", *words, "--json")
    return ended, json.loads(ended.stdout) if ended.stdout else None


def labels_of(root: Path) -> list[str]:
    """The label of each answer, in the order of the rows."""
    return [one["output"]["label"] for one in records(root / "out/all.jsonl")]


def stored(root: Path) -> Any:
    return json.loads(command(root, {}, "status", "job", "--json").stdout)["evaluation"]


def test_edited_expression_is_evaluated_at_no_cost(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_evaluated(tmp_path)
    run = run_job().run
    sent = accepted(tmp_path / "api")
    write_evaluated(tmp_path, {**EVALUATION, "name": "opposite", "match": "expected != actual"})
    ended, found = evaluate(tmp_path, run)
    wrong = labels_of(tmp_path)[:10].count("bad")
    [score] = found["evaluation"]
    assert (ended.returncode, score["name"], score["labelled"], score["right"]) == (0, "opposite", 10, wrong)
    assert (found["labels_from"], found["unlabelled"], found["unread"]) == (None, None, None)
    assert stored(tmp_path) == found["evaluation"]
    assert accepted(tmp_path / "api") == sent


def test_new_labels_are_taken_by_key(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_evaluated(tmp_path, source={**CSV, "where": "id != 'r7'", "limit": 12})
    run_job()
    answers = labels_of(tmp_path)
    # The rows are in another order, and one of them is new.
    rows = [f"r{number},text,{'good' if number % 2 else ''}\n" for number in range(21, 0, -1)]
    (tmp_path / "rows.csv").write_text("id,text,gold\n" + "".join(rows))
    _, found = evaluate(tmp_path, "job")
    odd = [label for key, label in zip([n for n in range(1, 14) if n != 7], answers, strict=True) if key % 2]
    [score] = found["evaluation"]
    assert (score["labelled"], score["right"]) == (len(odd), odd.count("good"))
    assert (found["labels_from"], found["unlabelled"]) == ("rows.csv", 6)
    text = command(tmp_path, {}, "evaluate", "job").stdout
    assert "  labels  from rows.csv as it is now; 6 rows of the run have none\n" in text


def test_vanished_labels_leave_the_scores_as_they_were(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_evaluated(tmp_path)
    run_job()
    before = json.loads(command(tmp_path, {}, "status", "--json").stdout)["evaluation"]
    text = (tmp_path / "rows.csv").read_text()
    (tmp_path / "rows.csv").write_text(text.replace("gold", "other", 1))
    ended = command(tmp_path, {}, "evaluate", "job")
    assert (ended.returncode, "has a label in rows.csv as it is now" in ended.stderr) == (2, True)
    assert json.loads(command(tmp_path, {}, "status", "--json").stdout)["evaluation"] == before


def test_one_vanished_label_column_is_an_error(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_evaluated(tmp_path, EVALUATION, {"name": "text", "expected": "row.text", "actual": "output.label"})
    run_job()
    before = stored(tmp_path)
    text = (tmp_path / "rows.csv").read_text()
    (tmp_path / "rows.csv").write_text(text.replace("gold", "golden", 1))
    ended = command(tmp_path, {}, "evaluate", "job")
    message = "evaluation 'label': row has no field 'gold': did you mean 'golden'?"
    assert (ended.returncode, message in ended.stderr) == (2, True)
    assert stored(tmp_path) == before


def test_label_column_that_the_run_did_not_have_is_read(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path)
    run_job()
    write_job(tmp_path, evaluate=[{**EVALUATION, "expected": "row.label"}])
    write_rows(tmp_path, {1: "good", 2: "bad"}, column="label")
    _, found = evaluate(tmp_path, "job.yaml")
    assert (found["evaluation"][0]["labelled"], found["unlabelled"]) == (2, 18)
    write_job(tmp_path, evaluate=[{**EVALUATION, "expected": "row.lable"}])
    ended = command(tmp_path, {}, "evaluate", "job.yaml")
    assert ended.returncode == 2
    assert "row has no field 'lable'" in ended.stderr


@pytest.mark.parametrize("source", [None, {"type": "csv", "path": "rows.csv"}])
def test_labels_are_those_of_the_run_otherwise(
    tmp_path: Path, run_job: Callable[..., Summary], source: dict[str, str] | None
) -> None:
    write_evaluated(tmp_path, source=source or SPEC["source"])
    run_job()
    if source is None:
        (tmp_path / "rows.csv").unlink()
    else:
        write_rows(tmp_path, {1: "bad"})
    _, found = evaluate(tmp_path, "job")
    assert (found["evaluation"][0]["labelled"], found["labels_from"]) == (10, None)
    assert (found["unread"] is not None) is (source is None)


def test_missed_threshold_ends_with_3(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_evaluated(tmp_path)
    run_job()
    write_evaluated(tmp_path, {**EVALUATION, "min_accuracy": 1})
    ended = command(tmp_path, {}, "evaluate", "job")
    assert ended.returncode == 3
    assert "; below 100 %\n" in ended.stdout
    assert json.loads(command(tmp_path, {}, "status", "job", "--json").stdout)["outcomes"] == {"succeeded": 20}


def test_classes_and_confusions_are_printed(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_evaluated(tmp_path)
    run_job(mix=lambda one: "refused" if one.endswith("-3") else "succeeded")
    good = labels_of_valid(tmp_path).count("good")
    lines = command(tmp_path, {}, "evaluate", "job").stdout.splitlines()
    assert "  expected  precision  recall     F1  rows" in lines
    matrix = [line.split() for line in lines[lines.index("  answered:  good  bad  (unanswered)") + 1 :]]
    assert matrix == [["good", str(good), str(9 - good), "1"], ["bad", "0", "0", "0"]]


def labels_of_valid(root: Path) -> list[str]:
    """The labels of the valid answers to rows with a label."""
    return [
        one["output"]["label"] for one in records(root / "out/all.jsonl")[:10] if one["outcome"] == "succeeded"
    ]


def test_wrong_rows_are_shown(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_evaluated(tmp_path)
    run_job(mix=lambda one: "refused" if one.endswith("-3") else "succeeded")
    shown = [json.loads(line) for line in command(tmp_path, {}, "show", "job", "--wrong").stdout.splitlines()]
    answers = records(tmp_path / "out/all.jsonl")[:10]
    wrong = {one["key"] for one in answers if one["outcome"] != "succeeded" or one["output"]["label"] == "bad"}
    assert {one["key"] for one in shown} == wrong
    refused = next(one for one in shown if one["key"] == "r3")
    assert refused["wrong"] == {"label": {"expected": "good", "actual": None}}
    failed = command(tmp_path, {}, "show", "job", "--wrong", "--failed").stdout.splitlines()
    assert [json.loads(line)["key"] for line in failed] == ["r3"]


@pytest.mark.parametrize("words", [("evaluate", "job"), ("show", "job", "--wrong")])
def test_spec_without_evaluations_is_an_error(
    tmp_path: Path, run_job: Callable[..., Summary], words: tuple[str, ...]
) -> None:
    run_job()
    ended = command(tmp_path, {}, *words)
    assert ended.returncode == 2
    assert "job.yaml has no `evaluate`" in ended.stderr


def test_purged_run_cannot_be_evaluated(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_evaluated(tmp_path)
    run = run_job().run
    command(tmp_path, {}, "purge", run, "--yes")
    before = stored(tmp_path)
    ended = command(tmp_path, {}, "evaluate", run)
    assert ended.returncode == 2
    assert "were purged" in ended.stderr
    assert stored(tmp_path) == before


def test_spec_of_another_name_is_an_error(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_evaluated(tmp_path)
    run = run_job().run
    write_evaluated(tmp_path, name="other")
    ended = command(tmp_path, {}, "evaluate", run)
    assert ended.returncode == 2
    assert "is named 'other'" in ended.stderr


def test_variables_are_those_of_the_run(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_evaluated(tmp_path, {**EVALUATION, "expected": "vars.wanted"}, vars={"wanted": "good"})
    run_job()
    edited = {"wanted": "bad", "new": "good"}
    write_evaluated(tmp_path, {**EVALUATION, "expected": "[vars.wanted, vars.new] | join"}, vars=edited)
    _, found = evaluate(tmp_path, "job")
    assert {pair["expected"] for pair in found["evaluation"][0]["confusion"]} == {"goodgood"}


def test_run_with_edited_labels_reuses_all_answers(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_evaluated(tmp_path)
    first = run_job()
    sent = accepted(tmp_path / "api")
    write_rows(tmp_path, dict.fromkeys(range(1, 16), "bad"))
    second = run_job()
    [score] = second.evaluation or []
    assert (second.run != first.run, score.labelled, score.right) == (
        True,
        15,
        labels_of(tmp_path)[:15].count("bad"),
    )
    assert accepted(tmp_path / "api") == sent


def test_label_that_cannot_be_used_is_counted_in_a_new_source(
    tmp_path: Path, run_job: Callable[..., Summary]
) -> None:
    number = {"name": "score", "expected": "row.gold", "actual": "output.score", "within": 1}
    write_evaluated(tmp_path, number, EVALUATION)
    run_job()
    write_rows(tmp_path, {1: "3", 2: "unusable"})
    _, found = evaluate(tmp_path, "job")
    scores = [(score["labelled"], score["unusable_labels"]) for score in found["evaluation"]]
    assert (scores, found["unlabelled"]) == ([(1, 1), (2, 0)], 18)


def test_damaged_source_leaves_the_labels_of_the_run(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_evaluated(tmp_path)
    run_job()
    with (tmp_path / "rows.csv").open("a") as file:
        file.write("r21,one field too many,good,more\n")
    _, found = evaluate(tmp_path, "job")
    assert "rows.csv:22" in found["unread"]
    assert (found["labels_from"], found["evaluation"][0]["labelled"]) == (None, 10)


def test_unfinished_run_says_what_to_run(tmp_path: Path) -> None:
    write_evaluated(tmp_path)
    with simulator(tmp_path / "api", seconds=60) as environ:
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
        evaluated, shown = (command(tmp_path, environ, name, "job") for name in ("evaluate", "show"))
    assert "is not finished: 20 rows have no result yet and do not count\n" in evaluated.stderr
    assert "have no result yet, and are shown with --outcome pending\n" in shown.stderr
    for ended in (evaluated, shown):
        assert "  resume with: runner run job.yaml --resume\n" in ended.stderr
