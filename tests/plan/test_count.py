"""The API is asked about requests before anything is paid."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from runner import Summary, load_spec, plan
from runner.errors import AccessError, InputError
from tests.support.files import pdf
from tests.support.processes import command
from tests.support.projects import ROWS, SPEC, write_job
from tests.support.simulator import accepted, answered, environ_without_key, simulator

REJECTED = "the API rejects the request of row"


@pytest.mark.parametrize(
    ("fault", "message"),
    [("count-400", "HTTP 400: tools.0: something is wrong"), ("count-no-model", "HTTP 404: model: claude-of-old")],
)
@pytest.mark.parametrize("changes", [{}, {"canary": 2}, {"mode": "sync"}])
def test_rejected_request_stops_a_run_before_it_is_paid(
    tmp_path: Path, run_job: Callable[..., Summary], fault: str, message: str, changes: dict[str, Any]
) -> None:
    write_job(tmp_path, **changes)
    with pytest.raises(
        InputError, match=rf"job\.yaml:1:\d+: {REJECTED} 1, and 15 more.*{message}.*\(request req_"
    ):
        run_job(faults=[f"{fault}:99"])
    assert (accepted(tmp_path / "api"), answered(tmp_path / "api")) == (0, [])


@pytest.mark.parametrize("fault", ["count-401", "count-403", "revoked-key"])
def test_rejected_credentials_end_a_plan_and_a_run_with_code_7(
    tmp_path: Path, run_job: Callable[..., Summary], fault: str
) -> None:
    with pytest.raises(AccessError, match=r"HTTP 40[13]"):
        run_job(faults=[f"{fault}:99"])
    with simulator(tmp_path / "api", faults=[f"{fault}:99"]) as environ:
        assert command(tmp_path, environ, "plan", "job.yaml").returncode == 7
        assert command(tmp_path, environ, "validate", "--online", "job.yaml").returncode == 7
    assert accepted(tmp_path / "api") == 0


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("count-500", "HTTP 500: Internal server error"), ("count-no-path", "cannot count tokens")],
)
def test_plan_says_why_tokens_are_only_estimated(
    tmp_path: Path, run_job: Callable[..., Summary], fault: str, reason: str
) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api", faults=[f"{fault}:99"]) as environ:
        shown = command(tmp_path, environ, "plan", "job.yaml", "-v")
        online = command(tmp_path, environ, "validate", "--online", "job.yaml")
    assert (shown.returncode, "without the API" in shown.stdout, reason in shown.stdout) == (0, True, True)
    assert (online.returncode, reason in online.stderr) == (4, True)
    assert run_job(faults=[f"{fault}:99"]).outcomes == {"succeeded": ROWS}


def test_a_plan_reports_a_rejected_request_and_ends_with_code_2(tmp_path: Path) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api", faults=["count-400:99"]) as environ:
        shown = command(tmp_path, environ, "plan", "job.yaml", "--json")
    [finding] = json.loads(shown.stdout)["findings"]
    assert (shown.returncode, finding["rule"], finding["severity"]) == (2, "rejected-by-api", "error")


def test_one_rejected_request_of_the_sample_is_enough(run_job: Callable[..., Summary]) -> None:
    with pytest.raises(InputError, match=rf"{REJECTED} \d+: HTTP 400"):
        run_job(faults=["count-400:1"])


def test_validate_online_asks_about_the_requests(tmp_path: Path) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api") as environ:
        good = command(tmp_path, environ, "validate", "--online", "job.yaml")
    with simulator(tmp_path / "api", faults=["count-400:99"]) as environ:
        bad = command(tmp_path, environ, "validate", "--online", "job.yaml")
        offline = command(tmp_path, environ, "validate", "job.yaml")
    without = command(tmp_path, environ_without_key(), "validate", "--online", "job.yaml")
    assert [one.returncode for one in (good, bad, offline, without)] == [0, 2, 0, 7]
    assert f"{REJECTED} 1: HTTP 400: tools.0: something is wrong (request req_" in bad.stderr


def test_mistakes_of_all_specs_are_shown_before_the_api_is_asked(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_job(tmp_path, name=name, prompt={"user": "{{ txet }}"}).rename(tmp_path / f"{name}.yaml")
    done = command(tmp_path, environ_without_key(), "validate", "--online", ".")
    assert (done.returncode, done.stderr.count("'txet' is undefined")) == (7, 2)


def test_validate_online_asks_for_the_model_without_rows(tmp_path: Path) -> None:
    params = {**SPEC["params"], "model": "claude-nothing-9"}
    write_job(tmp_path, params=params, source={"type": "csv", "path": "zzz.csv"})
    with simulator(tmp_path / "api") as environ:
        done = command(tmp_path, environ, "validate", "--online", "job.yaml")
    assert done.returncode == 2
    assert "zzz.csv: cannot read" in done.stderr
    assert "the API does not have this model: HTTP 404: model: claude-nothing-9" in done.stderr


def test_validate_online_looks_at_the_columns_of_a_table(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "out.db")) as database:
        database.execute("CREATE TABLE t (key TEXT PRIMARY KEY, other TEXT)")
    sink = {"type": "sql", "path": "out.db", "table": "t", "columns": {"key": "key", "missing": "row.text"}}
    write_job(tmp_path, sinks=[sink])
    with simulator(tmp_path / "api") as environ:
        offline = command(tmp_path, environ, "validate", "job.yaml")
        online = command(tmp_path, environ, "validate", "--online", "job.yaml")
    assert (offline.returncode, online.returncode) == (0, 2)
    assert "missing" in online.stderr.splitlines()[0]


def test_each_kind_of_attachment_is_asked_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_job(
        tmp_path,
        rows=400,
        prompt={"user": [{"type": "document", "path": "{{ text }}"}, {"type": "text", "text": "{{ id }}"}]},
    )
    (tmp_path / "a.txt").write_text("Some text.")
    (tmp_path / "odd.pdf").write_bytes(pdf())
    names = ["a.txt"] * 399 + ["odd.pdf"]
    rows = "".join(f"r{number},{name}\n" for number, name in enumerate(names, 1))
    (tmp_path / "rows.csv").write_text("id,text\n" + rows)
    stages: list[str] = []
    with simulator(tmp_path / "api", on=stages.append) as environ:
        for name in ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"):
            monkeypatch.setenv(name, environ[name])
        made = plan(load_spec(path))
    # The random sample is the same each time, and has only text files.
    assert made.input_tokens["method"] == "counted by the API on 16 requests"
    assert stages.count("count_tokens") == 17
