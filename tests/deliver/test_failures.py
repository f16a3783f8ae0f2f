"""Failed rows are grouped by reason in the summary, in `status` and in its JSON."""

import csv
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from runner import Summary
from runner.runs.summary import FailureGroup
from tests.support.outputs import records
from tests.support.processes import command
from tests.support.projects import SCHEMA, write_job
from tests.support.simulator import simulator

MIX = {1: "truncated", 5: "truncated", 7: "refused", 9: "missing"}
ONCE = {"attempts": 1}
# Missing results are waited for during 24 times as long.
SOON = {"poll_seconds": 0.1, "grace_seconds": 0.01}


def mix(custom_id: str) -> str:
    return MIX.get(int(custom_id.rpartition("-")[2]), "succeeded")


def test_failed_rows_are_grouped_by_reason(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, retry=ONCE, batch=SOON)
    failures = run_job(mix=mix).failures
    assert failures is not None
    assert [(one.reason, one.rows, one.key) for one in failures] == [
        ("truncated: max_tokens", 2, "r1"),
        ("refused", 1, "r7"),
        ("missing", 1, "r9"),
    ]
    assert [one.answer is None for one in failures] == [False, False, True]


def test_groups_of_a_finished_run_are_in_its_record(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, retry=ONCE, batch=SOON)
    summary = run_job(mix=mix)
    for path in tmp_path.glob(".runner/runs/*/results/*"):
        path.unlink()
    found = json.loads(command(tmp_path, {}, "status", summary.run, "--json").stdout)
    assert found["failures"] == [asdict(one) for one in summary.failures or []] != []


def test_purge_removes_the_groups(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, retry=ONCE, batch=SOON)
    run = run_job(mix=mix).run
    assert command(tmp_path, {}, "purge", run, "--yes").returncode == 0
    assert json.loads(command(tmp_path, {}, "status", run, "--json").stdout)["failures"] is None
    assert b"max_tokens" not in (tmp_path / ".runner/state.db").read_bytes()


def test_run_without_failures_has_no_groups(run_job: Callable[..., Summary]) -> None:
    assert run_job().failures == []


def test_further_reasons_are_one_group(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    checks = [{"check": f"row.id != 'r{number}'", "message": f"wrong {number}"} for number in range(1, 25)]
    write_job(tmp_path, rows=30, retry={**ONCE, "brake": "off"}, output={"schema": SCHEMA, "checks": checks})
    failures = run_job().failures
    assert failures is not None
    assert (len(failures), sum(one.rows for one in failures)) == (21, 24)
    assert (failures[-1].outcome, failures[-1].reason, failures[-1].rows) == ("invalid", "other reasons", 4)


NEVER = {"check": "false", "message": "never"}
FAILING: dict[str, Any] = {"retry": ONCE, "output": {"schema": SCHEMA, "checks": [NEVER]}}


def test_long_answer_is_cut_to_a_line(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    names = {f"a rather long name {number}": {"type": "integer"} for number in range(10)}
    schema = {"type": "object", "properties": names, "required": list(names), "additionalProperties": False}
    write_job(tmp_path, rows=2, retry=ONCE, output={"schema": schema, "checks": [NEVER]})
    [group] = run_job().failures or []
    assert group.answer is not None
    assert (group.reason, len(group.answer), group.answer[-1]) == ("invalid: never", 100, "…")


def test_summary_and_status_show_the_reasons(tmp_path: Path) -> None:
    write_job(tmp_path, **FAILING)
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, "run", "job.yaml", "--yes")
        run_id = next((tmp_path / ".runner/runs").iterdir()).name
        shown = [
            "  failed  20 rows  invalid: never\n                   r1: {",
            f"\n  show    runner show {run_id} --failed\n",
        ]
        assert (ended.returncode, [text in ended.stdout for text in shown]) == (3, [True, True])
        assert [text in command(tmp_path, environ, "status", run_id).stdout for text in shown] == [True, True]
        assert "failed" not in command(tmp_path, environ, "status").stdout


@pytest.mark.parametrize(("words", "has_failures"), [(("status", "job"), True), (("status",), False)])
def test_json_of_one_run_has_its_failures(tmp_path: Path, words: tuple[str, ...], has_failures: bool) -> None:
    write_job(tmp_path, rows=2, **FAILING)
    with simulator(tmp_path / "api") as environ:
        printed = json.loads(command(tmp_path, environ, "run", "job.yaml", "--yes", "--json").stdout)
        again = json.loads(command(tmp_path, environ, *words, "--json").stdout)
    group = printed["failures"][0]
    assert set(group) == set(FailureGroup.__dataclass_fields__)
    assert (group["outcome"], group["rows"]) == ("invalid", 2)
    assert again["failures"] == (printed["failures"] if has_failures else None)


def test_purged_run_has_no_failures_to_show(tmp_path: Path) -> None:
    write_job(tmp_path, **FAILING)
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, "run", "job.yaml", "--yes").returncode == 3
        assert command(tmp_path, environ, "purge", "job", "--yes").returncode == 0
        printed = json.loads(command(tmp_path, environ, "status", "job", "--json").stdout)
    assert (printed["failures"], printed["outcomes"]) == (None, {"invalid": 20})


def test_csv_says_why_a_row_has_no_output(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    sinks = [
        {"type": "csv", "path": "out/plain.csv"},
        {"type": "csv", "path": "out/own.csv", "columns": {"id": "key", "label": "output.label"}},
        {"type": "csv", "path": "out/why.csv", "columns": {"id": "key", "failed": "reason"}, "rows": "failed"},
        {"type": "jsonl", "path": "out/all.jsonl"},
    ]
    write_job(tmp_path, rows=2, retry=ONCE, sinks=sinks)
    run_job(mix=mix)
    plain = csv.DictReader((tmp_path / "out/plain.csv").read_text().splitlines())
    assert [(one["outcome"], one["reason"]) for one in plain] == [
        ("truncated", "truncated: max_tokens"),
        ("succeeded", ""),
    ]
    assert (tmp_path / "out/own.csv").read_text().startswith("id,label\nr1,\nr2,")
    assert (tmp_path / "out/why.csv").read_text() == "id,failed\nr1,truncated: max_tokens\n"
    assert "reason" not in records(tmp_path / "out/all.jsonl")[0]
