"""A run is evaluated: in its summary, in `status`, in JSON and in Python; a threshold decides the exit code."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import CostCapReached, Score, Summary
from tests.support.processes import RUN, command
from tests.support.projects import write_job
from tests.support.simulator import end_batches, simulator

ONCE = {"attempts": 1}
MIX = {3: "refused", 4: "truncated", 5: "missing"}
EVALUATION: dict[str, Any] = {"name": "label", "expected": "row.gold", "actual": "output.label"}


def mix(custom_id: str) -> str:
    return MIX.get(int(custom_id.rpartition("-")[2]), "succeeded")


def write_labelled(root: Path, *evaluations: dict[str, Any], rows: int = 20, **changes: Any) -> Path:
    """Write a job in which all rows but the first two have the label `good`."""
    path = write_job(root, rows=rows, evaluate=list(evaluations) or [EVALUATION], retry=ONCE, **changes)
    labels = [{"id": f"r{n}", "text": f"text {n}", "gold": "good" if n > 2 else ""} for n in range(1, rows + 1)]
    with (root / "rows.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(labels[0]))
        writer.writeheader()
        writer.writerows(labels)
    return path


def answers(root: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / "out" / "all.jsonl").read_text().splitlines()]


def test_run_is_evaluated(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_labelled(tmp_path, batch={"poll_seconds": 0.1, "grace_seconds": 0.01})
    summary = run_job(mix=mix)
    right = sum(
        1 for one in answers(tmp_path)[2:] if one["outcome"] == "succeeded" and one["output"]["label"] == "good"
    )
    assert summary.evaluation is not None
    [score] = summary.evaluation
    assert isinstance(score, Score)
    assert (score.labelled, score.right, score.unanswered) == (18, right, 3)
    assert 0 < right < 15
    assert sum(pair.rows for pair in score.confusion or ()) == 18


@pytest.mark.parametrize(("least", "code"), [(0.0, 0), (1.0, 3)])
def test_missed_threshold_ends_with_3(tmp_path: Path, least: float, code: int) -> None:
    write_labelled(tmp_path, {**EVALUATION, "min_accuracy": least})
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, *RUN)
    assert ended.returncode == code
    assert ("; below 100 %\n" in ended.stdout) is bool(code)
    assert "  scores  label  " in ended.stdout and " of 18 labelled rows" in ended.stdout
    assert {one["outcome"] for one in answers(tmp_path)} == {"succeeded"}


def test_status_of_a_run_shows_its_scores(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_labelled(tmp_path)
    summary = run_job()
    shown = command(tmp_path, {}, "status", summary.run).stdout
    assert "scores  label" in shown and "% right" in shown
    assert "scores" not in command(tmp_path, {}, "status").stdout
    [score] = json.loads(command(tmp_path, {}, "status", "--json").stdout)["evaluation"]
    assert (score["name"], score["labelled"], len(score["interval"])) == ("label", 18, 2)
    assert {"name", "precision", "recall", "f1", "support"} == set(score["classes"][0])


def test_edited_evaluation_sends_nothing(tmp_path: Path) -> None:
    write_labelled(tmp_path)
    with simulator(tmp_path / "api") as environ:
        first = command(tmp_path, environ, *RUN, "--json")
        write_labelled(tmp_path, {**EVALUATION, "match": "casefold", "name": "folded"})
        again = command(tmp_path, environ, *RUN, "--json")
    before, after = json.loads(first.stdout), json.loads(again.stdout)
    assert (before["run"], before["cost"]) == (after["run"], after["cost"])
    assert [score["name"] for score in after["evaluation"]] == ["folded"]


def test_run_without_evaluations_has_none(run_job: Callable[..., Summary]) -> None:
    assert run_job().evaluation is None


def test_partial_run_evaluates_what_it_has(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    params = {"model": "claude-haiku-5-5", "max_tokens": 1000}
    write_labelled(tmp_path, params=params, limits={"max_cost": 0.0004})
    with pytest.raises(CostCapReached):
        run_job()
    ended = json.loads(command(tmp_path, {}, "status", "job", "--json").stdout)
    [score] = ended["evaluation"]
    assert 0 < score["labelled"] < 18
    assert score["labelled"] == sum(1 for one in answers(tmp_path) if one["row"]["gold"])


def test_purge_keeps_the_scores_without_their_values(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_labelled(tmp_path, {**EVALUATION, "expected": "'zebra'"})
    run = run_job().run
    assert b"zebra" in (tmp_path / ".runner/state.db").read_bytes()
    assert command(tmp_path, {}, "purge", run, "--yes").returncode == 0
    [score] = json.loads(command(tmp_path, {}, "status", run, "--json").stdout)["evaluation"]
    assert (score["labelled"], score["classes"], score["confusion"]) == (20, None, None)
    assert b"zebra" not in (tmp_path / ".runner/state.db").read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evaluate": [{**EVALUATION, "expected": "row.gold +"}]}, "evaluation 'label': not an expression"),
        ({"sinks": [{"type": "jsonl", "path": "out/a.jsonl", "columns": {"a": "key +"}}]}, "not an expression"),
    ],
)
def test_mistake_made_during_a_run_has_its_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api", seconds=600) as environ:
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
    end_batches(tmp_path / "api")
    write_job(tmp_path, **changes)
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, *RUN, "--resume")
        assert ended.returncode == 2
        assert "job.yaml:1:" in ended.stderr and message in ended.stderr
        write_job(tmp_path)
        assert command(tmp_path, environ, *RUN).returncode == 0
