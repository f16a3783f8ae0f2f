"""Columns whose names have dots or spaces reach templates and sinks, beside nested values."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runner import Summary
from runner.errors import InputError
from tests.support.outputs import records
from tests.support.projects import write_job
from tests.support.sources import write_workbook

RunJob = Callable[..., Summary]

PROMPT = {"user": "{{ row['a.b'] }} {{ row['c d'] }}"}
COLUMNS = {"id": "key", "x.y": "row['a.b']", "c d": "row['c d']"}


def write_file(root: Path, kind: str) -> None:
    """A file with the columns `a.b` and `c d`."""
    if kind == "csv":
        (root / "t.csv").write_text("a.b,c d\n1,2\n")
    elif kind == "xlsx":
        write_workbook(root / "t.xlsx", ["a.b", "c d"], ["1", "2"])
    elif kind == "parquet":
        pq.write_table(pa.table({"a.b": ["1"], "c d": ["2"]}), root / "t.parquet")
    else:
        text = json.dumps({"a.b": "1", "c d": "2"})
        (root / f"t.{kind}").write_text(text if kind == "jsonl" else f"[{text}]")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json", "parquet", "xlsx"])
@pytest.mark.parametrize("taken", [{}, {"columns": ["a.b", "c d"], "types": {"a.b": "integer"}}])
def test_dotted_column_reaches_templates_and_sinks(
    tmp_path: Path, run_job: RunJob, kind: str, taken: dict[str, Any]
) -> None:
    write_job(
        tmp_path,
        prompt=PROMPT,
        source={"type": kind, "path": f"t.{kind}", "key": "a.b", "where": "row['a.b'] | int > 0", **taken},
        sinks=[
            {"type": "jsonl", "path": "out/o.jsonl", "columns": COLUMNS},
            {"type": "parquet", "path": "out/o.parquet", "columns": COLUMNS, "types": {"x.y": "integer"}},
            {"type": "sql", "path": "out/o.db", "table": "t", "key": "id", "columns": COLUMNS},
        ],
    )
    write_file(tmp_path, kind)
    assert run_job().outcomes == {"succeeded": 1}
    value = 1 if taken else "1"
    assert records(tmp_path / "out" / "o.jsonl") == [{"id": value, "x.y": value, "c d": "2"}]
    assert pq.read_table(tmp_path / "out" / "o.parquet").column("x.y").to_pylist() == [1]
    with sqlite3.connect(tmp_path / "out" / "o.db") as database:
        assert [str(one) for one in database.execute('SELECT "x.y", "c d" FROM t').fetchone()] == ["1", "2"]
    database.close()


def test_dotted_and_nested_names_are_told_apart(tmp_path: Path, run_job: RunJob) -> None:
    write_job(
        tmp_path,
        prompt={"user": "{{ row['a.b'] }} {{ a.b }} {{ a['c.d'] }}"},
        source={"type": "jsonl", "path": "t.jsonl"},
        sinks=[{"type": "jsonl", "path": "out/o.jsonl", "columns": {"dot": "row['a.b']", "nested": "row.a.b"}}],
    )
    (tmp_path / "t.jsonl").write_text('{"a.b": 1, "a": {"b": 2, "c.d": 3}}\n')
    assert run_job().exit_code == 0
    assert records(tmp_path / "out" / "o.jsonl") == [{"dot": 1, "nested": 2}]


def test_dotted_name_that_is_written_as_a_path_is_corrected(tmp_path: Path, run_job: RunJob) -> None:
    sink = {"type": "csv", "path": "out/o.csv", "columns": {"x": "row.a.b"}}
    write_job(tmp_path, prompt={"user": "{{ a.b }}"}, source={"type": "csv", "path": "t.csv"}, sinks=[sink])
    (tmp_path / "t.csv").write_text("a.b,c\n1,2\n")
    with pytest.raises(InputError) as caught:
        run_job()
    first, second = str(caught.value).splitlines()
    assert "column 'x': row has no field 'a': expected one of: row['a.b'], c" in first
    assert "'a' is undefined: expected one of: row['a.b'], c, row" in second
