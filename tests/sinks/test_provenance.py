"""Columns can say where a record comes from: the run, the attempt, its cost and the request."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runner import InputError, load_spec, run
from tests.support.outputs import records
from tests.support.projects import write_job
from tests.support.simulator import bill

NAMES = ("run", "round", "attempts", "cost", "prompt_sha256", "finished_at")
COLUMNS = {"key": "key", **{name: name for name in NAMES}}
SINKS: list[dict[str, Any]] = [{"type": "jsonl", "path": "out/all.jsonl", "columns": COLUMNS}]


def written(root: Path) -> dict[str, dict[str, Any]]:
    return {one["key"]: one for one in records(root / "out/all.jsonl")}


def test_record_names_its_run_and_request(tmp_path: Path, run_job: Any) -> None:
    summary = run_job(spec=write_job(tmp_path, sinks=SINKS))
    rows = written(tmp_path)
    body = json.loads((tmp_path / f".runner/runs/{summary.run}/bodies/1-1.json").read_bytes())
    params = json.dumps(body["requests"][0]["params"], separators=(",", ":"), ensure_ascii=False)
    assert {one["run"] for one in rows.values()} == {summary.run}
    assert rows["r1"]["prompt_sha256"] == hashlib.sha256(params.encode()).hexdigest()
    assert len({one["prompt_sha256"] for one in rows.values()}) == len(rows)
    assert all(one["finished_at"].endswith("+00:00") for one in rows.values())


def test_costs_of_rows_add_up_to_the_bill(tmp_path: Path, run_job: Any) -> None:
    summary = run_job(spec=write_job(tmp_path, sinks=SINKS))
    total = sum(one["cost"] for one in written(tmp_path).values())
    assert total == pytest.approx(bill(tmp_path / "api"), abs=1e-12)
    assert total == pytest.approx(summary.cost["actual"], abs=1e-6)


def test_retried_row_counts_its_attempts(tmp_path: Path, run_job: Any) -> None:
    run_job(spec=write_job(tmp_path, sinks=SINKS), faults=["errored:1"])
    rows = written(tmp_path).values()
    assert sorted(one["attempts"] for one in rows) == [1] * 19 + [2]
    assert [one["round"] for one in rows] == [one["attempts"] for one in rows]


def test_reused_answer_costs_nothing(tmp_path: Path, run_job: Any) -> None:
    first = run_job(spec=write_job(tmp_path, sinks=SINKS))
    second = run_job(spec=write_job(tmp_path, sinks=SINKS), new=True)
    found = written(tmp_path)["r1"]
    assert first.run != second.run == found["run"]
    assert [found[name] for name in NAMES[1:]] == [None, 0, 0.0, None, None]


def test_duplicate_row_is_paid_once(tmp_path: Path, run_job: Any) -> None:
    path = write_job(tmp_path, sinks=SINKS)
    (tmp_path / "rows.csv").write_text("id,text\na,same\nb,same\n")
    run_job(spec=path)
    rows = written(tmp_path)
    assert (rows["a"]["cost"] > 0, rows["b"]["cost"]) == (True, 0.0)
    assert rows["a"]["prompt_sha256"] == rows["b"]["prompt_sha256"]


def test_provenance_has_types(tmp_path: Path) -> None:
    sinks = [{"type": "parquet", "path": "out/all.parquet", "columns": COLUMNS}]
    run(load_spec(write_job(tmp_path, sinks=sinks)), simulate=True)
    schema = pq.read_schema(tmp_path / "simulated/out/all.parquet")
    found = [schema.field(name).type for name in NAMES]
    assert found[:5] == [pa.string(), pa.int64(), pa.int64(), pa.float64(), pa.string()]
    assert pa.types.is_timestamp(found[5])


def test_synchronous_answer_has_its_full_price(tmp_path: Path, run_job: Any) -> None:
    run_job(spec=write_job(tmp_path, sinks=SINKS, mode="sync"))
    rows = written(tmp_path).values()
    assert sum(one["cost"] for one in rows) == pytest.approx(bill(tmp_path / "api"))
    assert {one["finished_at"] for one in rows} == {None}


def test_edited_column_with_a_mistake_is_named(tmp_path: Path, run_job: Any) -> None:
    run_job(spec=write_job(tmp_path, sinks=SINKS), wait=False)
    sinks = [{"type": "jsonl", "path": "out/all.jsonl", "columns": {"a": "run +"}}]
    with pytest.raises(InputError, match="cannot be computed"):
        run_job(spec=write_job(tmp_path, sinks=sinks), resume=True)
