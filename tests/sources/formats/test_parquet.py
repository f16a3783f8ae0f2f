"""Parquet files as sources."""

import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runner.errors import InputError
from runner.sources.input_files import Inputs
from runner.sources.read import read_rows
from runner.spec.spec import Source
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
    assert read_error(tmp_path, "parquet", "far.parquet").startswith("far.parquet:1: column 'at': the date ")


@pytest.mark.parametrize("year", [1, 1600, 1900, 2026, 9999])
def test_int96_times_are_those_that_were_written(tmp_path: Path, year: int) -> None:
    # Spark, Hive and Impala write times as INT96, whose days reach far beyond what nanoseconds can hold.
    days = (datetime.date(year, 12, 31) - datetime.date(1970, 1, 1)).days + 2_440_588
    placeholder = (1_000_000_000).to_bytes(8, "little") + (2_457_023).to_bytes(4, "little")
    table = pa.table({"at": pa.array([datetime.datetime(2014, 12, 31, 0, 0, 1)], pa.timestamp("us"))})
    options = {"use_deprecated_int96_timestamps": True, "store_schema": False, "use_dictionary": False}
    pq.write_table(table, tmp_path / "t.parquet", compression="none", write_statistics=False, **options)
    data = (tmp_path / "t.parquet").read_bytes()
    assert data.count(placeholder) == 1
    (tmp_path / "t.parquet").write_bytes(data.replace(placeholder, placeholder[:8] + days.to_bytes(4, "little")))
    assert read_fields(tmp_path, "parquet", "t.parquet") == [{"at": f"{year:04}-12-31T00:00:01"}]


def test_maps_are_mappings(tmp_path: Path) -> None:
    tags = pa.array([[("color", "red")], [], None], pa.map_(pa.string(), pa.string()))
    inner = pa.list_(pa.struct([("m", pa.map_(pa.int32(), pa.float64()))]))
    nested = pa.array([[{"m": [(1, 2.5)]}], None, []], inner)
    pq.write_table(pa.table({"tags": tags, "nested": nested}), tmp_path / "t.parquet")
    assert read_fields(tmp_path, "parquet", "t.parquet") == [
        {"tags": {"color": "red"}, "nested": [{"m": {"1": 2.5}}]},
        {"tags": {}, "nested": None},
        {"tags": None, "nested": []},
    ]


def test_map_with_a_repeated_key_is_an_error(tmp_path: Path) -> None:
    tags = pa.array([[("a", "1"), ("a", "2")]], pa.map_(pa.string(), pa.string()))
    pq.write_table(pa.table({"tags": tags}), tmp_path / "t.parquet")
    assert read_error(tmp_path, "parquet", "t.parquet").startswith("t.parquet: cannot be read as Parquet: ")


def write_bytes(path: Path, *values: bytes | None, declared: bool = False) -> None:
    pq.write_table(pa.table({"x": pa.array(values, pa.binary())}), path, store_schema=declared)


def test_bytes_without_a_type_are_text_if_they_are_utf8(tmp_path: Path) -> None:
    write_bytes(tmp_path / "t.parquet", "é".encode(), None)
    assert read_fields(tmp_path, "parquet", "t.parquet") == [{"x": "é"}, {"x": None}]
    assert read_fields(tmp_path, "parquet", "t.parquet", binary="base64") == [{"x": "w6k="}, {"x": None}]
    write_bytes(tmp_path / "d.parquet", b"abc", declared=True)
    assert read_fields(tmp_path, "parquet", "d.parquet") == [{"x": "YWJj"}]
    assert read_fields(tmp_path, "parquet", "d.parquet", binary="text") == [{"x": "abc"}]
    write_bytes(tmp_path / "b.parquet", b"abc", b"\xff\xfe")
    assert read_fields(tmp_path, "parquet", "b.parquet") == [{"x": "YWJj"}, {"x": "//4="}]


def test_bytes_that_stop_being_text_are_an_error(tmp_path: Path) -> None:
    write_bytes(tmp_path / "t.parquet", *[b"abc"] * 600, b"\xff")
    assert "set `binary: base64`" in read_error(tmp_path, "parquet", "t.parquet")


def test_folders_in_the_path_are_columns(tmp_path: Path) -> None:
    for folder, value in (("day=2026-01-31/to=a%2Fb", 1), ("day=__HIVE_DEFAULT_PARTITION__/to=c", 2)):
        (tmp_path / "t" / folder).mkdir(parents=True)
        pq.write_table(pa.table({"n": [value]}), tmp_path / "t" / folder / "part.parquet")
    assert sorted(read_fields(tmp_path, "parquet", "t/**/*.parquet"), key=lambda row: row["n"]) == [
        {"n": 1, "day": "2026-01-31", "to": "a/b"},
        {"n": 2, "day": None, "to": "c"},
    ]


def test_only_the_columns_of_the_spec_are_read(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1], "b": [float("inf")], "c": ["x"]}), tmp_path / "t.parquet")
    source = Source("parquet", None, {"path": "t.parquet"}, columns=("c", "a"))
    assert [row.fields for row in read_rows(source, Inputs(tmp_path))] == [{"c": "x", "a": 1}]
    (tmp_path / "u.parquet").write_bytes((tmp_path / "t.parquet").read_bytes())
    with pytest.raises(InputError, match="no column 'd'"):
        list(read_rows(Source("parquet", None, {"path": "u.parquet"}, columns=("d", "a")), Inputs(tmp_path)))


def test_bytes_and_times_inside_lists_and_maps_are_text(tmp_path: Path) -> None:
    moment = pa.struct([("at", pa.timestamp("ns")), ("by", pa.binary())])
    columns = {
        "steps": pa.array([[{"at": 1_764_032_523_123_456_789, "by": b"Zo\xc3\xab"}], None], pa.list_(moment)),
        "named": pa.array([[(b"a", {"at": 1, "by": None})], []], pa.map_(pa.binary(), moment)),
        "image": pa.array([[b"\x89PNG"], []], pa.list_(pa.binary())),
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet", store_schema=False)
    assert read_fields(tmp_path, "parquet", "t.parquet") == [
        {
            "steps": [{"at": "2025-11-25T01:02:03.123456", "by": "Zoë"}],
            "named": {"a": {"at": "1970-01-01T00:00:00", "by": None}},
            "image": ["iVBORw=="],
        },
        {"steps": None, "named": {}, "image": []},
    ]
