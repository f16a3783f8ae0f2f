"""A sink that cannot be written keeps no other from being delivered."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import Summary
from runner.errors import InputError
from tests.support.outputs import records
from tests.support.projects import EACH_ONCE, write_job
from tests.support.simulator import paid

LONG = {
    "type": "object",
    "properties": {"note": {"type": "string", "pattern": "^[a-z]{33000}$"}},
    "required": ["note"],
    "additionalProperties": False,
}
XLSX = {"type": "xlsx", "path": "out/o.xlsx", "columns": {"id": "key", "note": "output.note"}}
JSONL = {"type": "jsonl", "path": "out/all.jsonl"}


def table(name: str, note: str) -> dict[str, Any]:
    columns = {"id": "key", "note": note}
    return {"type": "sql", "path": "out/o.db", "table": name, "key": "id", "columns": columns}


@pytest.mark.parametrize("order", [[XLSX, JSONL], [JSONL, XLSX]])
def test_sink_that_fails_keeps_no_other_from_delivery(
    tmp_path: Path, run_job: Callable[..., Summary], order: list[dict[str, Any]]
) -> None:
    write_job(tmp_path, output={"schema": LONG}, sinks=order)
    with pytest.raises(InputError, match=r"cannot write the row 'r1'.*32,767"):
        run_job()
    assert len(records(tmp_path / "out" / "all.jsonl")) == 20
    assert not (tmp_path / "out" / "o.xlsx").exists()


def test_corrected_sink_is_delivered_and_nothing_is_sent(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, output={"schema": LONG}, sinks=[XLSX, JSONL])
    with pytest.raises(InputError):
        run_job()
    before = (tmp_path / "out" / "all.jsonl").stat().st_mtime_ns
    cut = {**XLSX, "columns": {"id": "key", "note": "output.note[:10]"}}
    write_job(tmp_path, output={"schema": LONG}, sinks=[cut, JSONL])
    assert run_job().state == "finished"
    assert (tmp_path / "out" / "o.xlsx").exists()
    assert (tmp_path / "out" / "all.jsonl").stat().st_mtime_ns == before
    assert paid(tmp_path / "api") == EACH_ONCE


def test_all_sinks_that_fail_are_named(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    other = {**XLSX, "path": "out/p.xlsx"}
    write_job(tmp_path, output={"schema": LONG}, sinks=[XLSX, JSONL, other])
    with pytest.raises(InputError) as caught:
        run_job()
    assert len(caught.value.problems) == 2


def test_tables_of_one_database_appear_together(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    sinks = [table("good", "output.score"), table("bad", "1 // (output.score * 0)"), JSONL]
    write_job(tmp_path, sinks=sinks)
    with pytest.raises(InputError, match="cannot write the row 'r1'"):
        run_job()
    assert len(records(tmp_path / "out" / "all.jsonl")) == 20
    with sqlite3.connect(tmp_path / "out" / "o.db") as database:
        assert database.execute("SELECT count(*) FROM good").fetchone() == (0,)
