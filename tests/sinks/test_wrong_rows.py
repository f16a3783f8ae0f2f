"""Sinks of wrong rows, and columns that tell what is wrong."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import Summary, load_spec
from runner.errors import InputError
from runner.lifecycle.validate.checks import validate_file
from tests.support.outputs import records
from tests.support.projects import write_job

LABEL: dict[str, Any] = {"name": "label", "expected": "'good'", "actual": "output.label"}
KEY: dict[str, Any] = {"name": "key", "expected": "key", "actual": "'r1'"}
ALL = {"type": "jsonl", "path": "out/all.jsonl"}
WRONG = {"type": "jsonl", "path": "out/wrong.jsonl", "rows": "wrong"}


def test_sink_takes_wrong_rows_and_says_what_is_wrong(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, evaluate=[LABEL], sinks=[ALL, WRONG])
    run_job()
    wrong, answers = records(tmp_path / "out/wrong.jsonl"), records(tmp_path / "out/all.jsonl")
    bad = [one for one in answers if one["output"]["label"] == "bad"]
    assert 0 < len(bad) < 20 and "wrong" not in answers[0]
    assert wrong == [{**one, "wrong": {"label": {"expected": "good", "actual": "bad"}}} for one in bad]


def test_columns_name_the_evaluations_of_a_row(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    columns = {
        "id": "key",
        "misses": "wrong | join(' ')",
        "expected": "wrong.key.expected",
        "actual": "wrong.key.actual",
        "label": "wrong.label.actual",
    }
    write_job(
        tmp_path, evaluate=[KEY, LABEL], sinks=[ALL, {"type": "csv", "path": "out/w.csv", "columns": columns}]
    )
    run_job()
    with (tmp_path / "out/w.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows if "key" not in row["misses"].split()] == ["r1"]
    assert {(row["expected"], row["actual"]) for row in rows[1:]} == {(f"r{n}", "r1") for n in range(2, 21)}
    assert {row["label"] for row in rows} == {"", "bad"}


@pytest.mark.parametrize("kind", ["csv", "parquet", "xlsx"])
def test_other_sinks_write_wrong_rows(tmp_path: Path, run_job: Callable[..., Summary], kind: str) -> None:
    write_job(tmp_path, evaluate=[LABEL], sinks=[ALL, {"type": kind, "path": f"out/w.{kind}", "rows": "wrong"}])
    summary = run_job()
    [score] = summary.evaluation or []
    assert summary.sinks[1]["rows"] == score.labelled - score.right > 0


def test_wrong_rows_need_evaluations(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="`rows: wrong` needs `evaluate`"):
        load_spec(write_job(tmp_path, sinks=[WRONG]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wrong.lable.actual", "wrong has no field 'lable': did you mean 'label'?"),
        ("wrong.label.atcual", "wrong.label has no field 'atcual': did you mean 'actual'?"),
    ],
)
def test_unknown_part_of_wrong_is_found(tmp_path: Path, text: str, message: str) -> None:
    sink = {**ALL, "columns": {"id": "key", "what": text}}
    [found] = validate_file(write_job(tmp_path, evaluate=[LABEL], sinks=[sink], allow=["few-rows"])).findings
    assert message in str(found)


def test_mistake_in_an_evaluation_is_reported_once(tmp_path: Path) -> None:
    sink = {**ALL, "columns": {"id": "key", "what": "wrong.label.actual"}}
    path = write_job(tmp_path, evaluate=[{**LABEL, "name": "The label"}], sinks=[sink], allow=["few-rows"])
    assert len(validate_file(path).findings) == 1
