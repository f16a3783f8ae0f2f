"""Parquet files as sources."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from runner.sources.input_files import Inputs
from tests.support.sources import TYPED_COLUMNS, read_all, read_error, read_fields


def test_parquet_rows_have_json_values_and_column_types(tmp_path: Path) -> None:
    columns = {name: pa.array(values, kind) for name, (values, kind, _, _) in TYPED_COLUMNS.items()}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    inputs = Inputs(tmp_path)
    found = [row.fields for row in read_all(tmp_path, "parquet", "t.parquet", inputs=inputs)]
    assert found == [{name: case[3][index] for name, case in TYPED_COLUMNS.items()} for index in (0, 1)]
    assert inputs.types == {name: schema for name, (_, _, schema, _) in TYPED_COLUMNS.items()}


def test_parquet_files_are_read_in_name_order_with_one_schema(tmp_path: Path) -> None:
    for name in ("b", "a"):
        pq.write_table(pa.table({"x": [f"{name}1", f"{name}2"]}), tmp_path / f"{name}.parquet")
    assert [(row.path, row.line, row.fields["x"]) for row in read_all(tmp_path, "parquet", "*.parquet")] == [
        ("a.parquet", 1, "a1"), ("a.parquet", 2, "a2"), ("b.parquet", 1, "b1"), ("b.parquet", 2, "b2")
    ]  # fmt: skip
    pq.write_table(pa.table({"x": [1]}), tmp_path / "c.parquet")
    assert read_error(tmp_path, "parquet", "*.parquet") == (
        "c.parquet: the columns are x, but earlier files have x, or other types"
    )


def test_damaged_parquet_is_reported(tmp_path: Path) -> None:
    (tmp_path / "no.parquet").write_bytes(b"id,text\n1,a\n")
    assert read_error(tmp_path, "parquet", "no.parquet").startswith("no.parquet: cannot be read as Parquet: ")
    pq.write_table(pa.table({"x": [str(n) for n in range(9000)]}), tmp_path / "cut.parquet", compression="gzip")
    data = bytearray((tmp_path / "cut.parquet").read_bytes())
    data[2000:2100] = b"\xff" * 100
    (tmp_path / "cut.parquet").write_bytes(data)
    assert read_error(tmp_path, "parquet", "cut.parquet").startswith("cut.parquet")
    pq.write_table(pa.table({"x": [float("inf")]}), tmp_path / "inf.parquet")
    assert (
        read_error(tmp_path, "parquet", "inf.parquet") == "inf.parquet:1: x is infinite, which JSON cannot express"
    )


def test_parquet_nanoseconds_are_truncated(tmp_path: Path) -> None:
    moment = pa.array([1_764_032_523_123_456_789], pa.timestamp("ns", tz="Europe/Berlin"))
    pq.write_table(pa.table({"at": moment}), tmp_path / "t.parquet")
    assert read_fields(tmp_path, "parquet", "t.parquet") == [{"at": "2025-11-25T01:02:03.123456+00:00"}]
    far = pa.array([1 << 60], pa.timestamp("us"))
    pq.write_table(pa.table({"at": far}), tmp_path / "far.parquet")
    assert read_error(tmp_path, "parquet", "far.parquet").startswith("far.parquet: cannot be read as Parquet: ")
