"""The command diff: its text, JSON, CSV and exit codes."""

import json
from pathlib import Path

import pytest

from tests.support.processes import RUN_SIMULATED, Ended, command
from tests.support.projects import SCHEMA, write_job
from tests.support.simulator import environ_without_key
from tests.support.sinks import csv_cells

FAILING = {"schema": SCHEMA, "checks": [{"check": "row.id != 'r2'", "message": "never r2"}]}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two runs: in the second, the text of r3 is edited and r2 fails a check."""
    root = tmp_path_factory.mktemp("project")
    write_job(root, rows=30)
    assert command(root, environ_without_key(), *RUN_SIMULATED).returncode == 0
    write_job(root, rows=30, output=FAILING, retry={"attempts": 1})
    text = (root / "rows.csv").read_text()
    (root / "rows.csv").write_text(text.replace("text number 3\n", "=other\n"))
    assert command(root, environ_without_key(), *RUN_SIMULATED).returncode == 3
    return root


def diff(root: Path, *words: str) -> Ended:
    return command(root, environ_without_key(), "diff", *words)


def test_verdict_comes_first_then_counts_and_fields(project: Path) -> None:
    lines = diff(project, "job").stdout.splitlines()
    assert lines[0] == "job: 2 of 30 rows differ, 1 of them regressed, for several reasons"
    assert "  rows       28 same, 1 changed, 1 regressed" in lines
    assert "  regressed  r2: succeeded → invalid: never r2" in lines
    assert any(line.startswith("               r3: ") and " → " in line for line in lines)


def test_run_and_itself_have_no_differences(project: Path) -> None:
    ended = diff(project, "job", "job", "--fail-on", "changed")
    assert (ended.returncode, ended.stdout.splitlines()[0]) == (0, "job: no differences in 30 rows")


def test_json_has_counts_causes_and_examples(project: Path) -> None:
    found = json.loads(diff(project, "job.yaml", "--json", "--limit", "1").stdout)
    assert (found["rows"]["changed"], found["rows"]["regressed"], found["because"]) == (
        1,
        1,
        {"data": 1, "output": 1},
    )
    assert found["examples"] == {"regressed": [{"key": "r2", "old": "succeeded", "new": "invalid: never r2"}]}
    assert {one["examples"][0]["key"] for one in found["fields"]} == {"r2", "r3"}


def test_csv_has_a_line_for_each_field_that_differs(project: Path) -> None:
    assert diff(project, "job", "--csv", "out/changes.csv").returncode == 0
    header, *lines = csv_cells((project / "out/changes.csv").read_bytes())
    assert header == ["key", "kind", "because", "field", "old", "new"]
    assert lines[0] == ["r2", "regressed", "output", "outcome", "succeeded", "invalid: never r2"]
    assert {line[0] for line in lines} == {"r2", "r3"}


def test_exit_code_says_that_rows_have_regressed(project: Path) -> None:
    backwards = [json.loads(line)["run"] for line in command_status(project)]
    assert diff(project, "job", "--fail-on", "regressed").returncode == 3
    assert diff(project, *backwards, "--fail-on", "regressed").returncode == 0
    assert diff(project, *backwards, "--fail-on", "changed").returncode == 3


def command_status(root: Path) -> list[str]:
    return command(root, environ_without_key(), "status", "--json").stdout.splitlines()


def test_scores_are_shown_old_and_new(tmp_path: Path) -> None:
    answered = {
        "name": "answered",
        "expected": "key",
        "actual": "output.label",
        "match": "actual in ['good', 'bad']",
    }
    write_job(tmp_path, evaluate=[answered])
    assert command(tmp_path, environ_without_key(), *RUN_SIMULATED).returncode == 0
    write_job(tmp_path, evaluate=[answered], output=FAILING, retry={"attempts": 1})
    assert command(tmp_path, environ_without_key(), *RUN_SIMULATED).returncode == 3
    assert "  scores     answered  100.0 % → 95.0 % right (20 of 20 → 19 of 20)" in diff(tmp_path, "job").stdout
    [score] = json.loads(diff(tmp_path, "job", "--json").stdout)["scores"]
    assert score["new"] == {"share": 0.95, "right": 19, "labelled": 20}
    assert "another rule" not in diff(tmp_path, "job").stdout


def test_scores_by_another_rule_are_told_apart(tmp_path: Path) -> None:
    rule = {"name": "same", "expected": "key", "actual": "key | upper"}
    for match in ("exact", "casefold"):
        write_job(tmp_path, evaluate=[{**rule, "match": match}])
        assert command(tmp_path, environ_without_key(), *RUN_SIMULATED, "--new").returncode == 0
    older = json.loads(command_status(tmp_path)[-1])["run"]
    line = f"same: the older run was judged by another rule; `runner evaluate {older}` judges it again"
    assert line in diff(tmp_path, "job").stdout
    assert command(tmp_path, environ_without_key(), "evaluate", older).returncode == 0
    assert "another rule" not in diff(tmp_path, "job").stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("job", "job", "job"), "at most two runs can be compared"),
        (("nothing",), "no run matches 'nothing'"),
        (("job", "--csv", "out"), "is a directory"),
    ],
)
def test_mistake_in_the_command_is_named(project: Path, words: tuple[str, ...], message: str) -> None:
    ended = diff(project, *words)
    assert (ended.returncode, message in ended.stderr) == (2, True), ended.stderr
