"""A run of some of the rows never replaces complete outputs, unless it is told to."""

import gzip
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import Summary
from runner.errors import CostCapReached
from runner.lifecycle.maintain.cancel import cancel_run
from runner.simulator.responses import ErrorResponse
from tests.support.outputs import records
from tests.support.processes import RUN, command
from tests.support.projects import SPEC, write_job
from tests.support.simulator import fail_at, simulator

EDITED: dict[str, Any] = {"prompt": {"user": "In other words: {{ text }}"}}
COLUMNS = {"id": "key", "label": "output.label"}


def contents(root: Path) -> dict[str, bytes]:
    """Every output below out/ by its path."""
    found = (path for path in sorted((root / "out").rglob("*")) if path.is_file())
    return {str(path.relative_to(root / "out")): path.read_bytes() for path in found}


def cancel_unsent(root: Path, run_job: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch) -> Summary:
    """Run a job of which nothing is sent, cancel it, and finish it."""
    first = run_job(wait=False, seconds=5, on=fail_at("create", ErrorResponse(429, "full"), times=0), new=True)
    monkeypatch.chdir(root)
    with simulator(root / "api") as environ:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", environ["ANTHROPIC_BASE_URL"])
        cancel_run(first.run)
    return run_job()


def test_limited_run_writes_beside_complete_outputs(tmp_path: Path) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
        before = contents(tmp_path)
        limited = command(tmp_path, environ, *RUN, "--limit", "6")
        after = contents(tmp_path)
        assert {name: after[name] for name in before} == before
        assert len(records(tmp_path / "out/all.partial.jsonl")) == 6
        assert "out/labels.partial.csv" in limited.stdout
        assert "out/labels.csv, which is complete" in limited.stdout
        assert "--overwrite replaces it" in limited.stderr
        assert command(tmp_path, environ, *RUN, "--limit", "6", "--overwrite").returncode == 0
        assert len(records(tmp_path / "out/all.jsonl")) == 6
        assert command(tmp_path, environ, *RUN).returncode == 0
    assert {name: contents(tmp_path)[name] for name in before if name.endswith("csv")} == {
        name: text for name, text in before.items() if name.endswith("csv")
    }


def test_first_runs_of_a_few_rows_write_the_named_files(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path)
    for limit in (3, 5, 4):
        run_job(limit=limit)
        assert sorted(contents(tmp_path)) == ["all.jsonl", "labels.csv"]
        assert len(records(tmp_path / "out/all.jsonl")) == limit
    run_job()
    assert len(records(tmp_path / "out/all.jsonl")) == 20


def test_limit_above_the_number_of_rows_is_complete(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    run_job()
    write_job(tmp_path, rows=15)
    run_job(limit=16)
    assert len(records(tmp_path / "out/all.jsonl")) == 15
    run_job(limit=15)
    assert sorted(contents(tmp_path)) == ["all.jsonl", "all.partial.jsonl", "labels.csv", "labels.partial.csv"]


def test_file_of_unknown_origin_is_kept(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    (tmp_path / "out").mkdir()
    for name in ("all.jsonl", "all.partial.jsonl"):
        (tmp_path / "out" / name).write_text("precious\n")
    summary = run_job(limit=2)
    assert (
        (tmp_path / "out/all.jsonl").read_text()
        == (tmp_path / "out/all.partial.jsonl").read_text()
        == "precious\n"
    )
    assert len(records(tmp_path / "out/all.partial-2.jsonl")) == 2
    assert [one.get("instead_of") for one in summary.sinks] == [str(tmp_path / "out/all.jsonl"), None]
    run_job(limit=2)
    assert sorted(contents(tmp_path)) == ["all.jsonl", "all.partial-2.jsonl", "all.partial.jsonl", "labels.csv"]


def test_canceled_run_keeps_complete_outputs(
    tmp_path: Path, run_job: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch
) -> None:
    sinks: list[dict[str, Any]] = [
        {"type": "csv", "path": "out/labels.csv.gz", "columns": COLUMNS},
        {"type": "files", "path": "out/letters", "name": "key", "content": "output.label"},
        {"type": "sql", "path": "out/labels.db", "table": "labels", "key": "id", "columns": COLUMNS},
    ]
    write_job(tmp_path, sinks=sinks)
    run_job()
    before = contents(tmp_path)
    write_job(tmp_path, sinks=sinks, **EDITED)
    assert cancel_unsent(tmp_path, run_job, monkeypatch).outcomes == {"canceled": 20}
    after = contents(tmp_path)
    assert {name: after[name] for name in before if name != "labels.db"} == {
        name: text for name, text in before.items() if name != "labels.db"
    }
    assert len(gzip.decompress(after["labels.partial.csv.gz"]).splitlines()) == 21
    assert sum(name.startswith("letters.partial/") for name in after) == 20
    with sqlite3.connect(tmp_path / "out/labels.db") as table:
        assert table.execute("SELECT count(*), count(label) FROM labels").fetchone() == (20, 20)
    table.close()


def test_run_paused_by_its_cap_keeps_complete_outputs(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path)
    run_job()
    before = contents(tmp_path)
    small = {**SPEC["batch"], "max_requests": 5}
    write_job(tmp_path, limits={"max_cost": 0.0002}, batch=small, **EDITED)
    with pytest.raises(CostCapReached):
        run_job()
    after = contents(tmp_path)
    assert {name: after[name] for name in before} == before
    assert 0 < len(records(tmp_path / "out/all.partial.jsonl")) < 20
    write_job(tmp_path, limits={"max_cost": 5}, batch=small, **EDITED)
    run_job()
    assert contents(tmp_path)["all.jsonl"] != before["all.jsonl"]
    assert len(records(tmp_path / "out/all.jsonl")) == 20
