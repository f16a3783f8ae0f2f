"""Parquet sinks: the types of the output schema, and the same bytes for the same rows."""

import datetime
import json
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runner import Summary, load_spec
from runner.errors import InputError
from runner.sinks.destination import Destination
from tests.support.projects import write_job
from tests.support.sinks import FAILED_RECORD, TYPED_ANSWER, outcome_record, typed_spec, write_sink
from tests.support.sources import TYPED_COLUMNS


def test_parquet_has_the_types_of_the_output_schema(tmp_path: Path) -> None:
    write_sink(
        typed_spec(tmp_path, type="parquet"),
        Destination(tmp_path / "o"),
        outcome_record(output=TYPED_ANSWER),
        FAILED_RECORD,
    )
    table = pq.read_table(tmp_path / "o")
    assert {field.name: str(field.type) for field in table.schema} == {
        "id": "string", "total": "double", "count": "int64", "sure": "bool", "day": "date32[day]",
        "label": "string", "lines": "list<element: struct<name: string, n: int64>>", "more": "string",
        "money": "decimal128(10, 2)", "row": "string", "why": "string",
    }  # fmt: skip
    first, second = table.to_pylist()
    assert first == {
        "id": "k1", "total": 3.0, "count": None, "sure": True, "day": datetime.date(2026, 11, 25), "label": "a",
        "lines": [{"name": "x", "n": 1}, {"name": "é", "n": None}], "more": '{"k":[1]}', "money": Decimal("3.00"),
        "row": '{"a":1}', "why": None,
    }  # fmt: skip
    assert second == {**dict.fromkeys(first), "id": "k2", "row": '{"a":1}', "why": "not JSON"}


def test_parquet_types_round_trip_from_source_to_sink(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    columns: dict[str, Any] = {
        name: pa.array(values, kind) for name, (values, kind, _, _) in TYPED_COLUMNS.items()
    }
    columns["share"] = pa.array([0.5, None])
    source = pa.table({"id": ["a", "b"], **columns})
    pq.write_table(source, tmp_path / "in.parquet")
    wanted = {"id": "key", **{name: f"row.{name}" for name in TYPED_COLUMNS}}
    write_job(
        tmp_path,
        source={"type": "parquet", "path": "in.parquet", "key": "id"},
        prompt={"user": "{{ id }}"},
        sinks=[{"type": "parquet", "path": "out/o.parquet", "columns": wanted}],
    )
    assert run_job().exit_code == 0
    found = pq.read_table(tmp_path / "out/o.parquet")
    assert found.to_pylist() == source.to_pylist()
    assert [str(field.type).replace("element", "item") for field in found.schema] == [
        str(field.type).replace("element", "item") for field in source.schema
    ]


def test_parquet_without_rows_has_its_columns(tmp_path: Path) -> None:
    write_sink(typed_spec(tmp_path, type="parquet"), Destination(tmp_path / "o"))
    assert (pq.read_table(tmp_path / "o").num_rows, pq.read_schema(tmp_path / "o").names[0]) == (0, "id")


@pytest.mark.parametrize("type", ["parquet", "xlsx"])
def test_the_same_rows_give_the_same_bytes(tmp_path: Path, type: str) -> None:
    for name in ("a", "b"):
        if name == "b":
            # Formats have times in seconds.
            time.sleep(1.1)
        write_sink(
            typed_spec(tmp_path, type=type),
            Destination(tmp_path / name),
            *[outcome_record(output=TYPED_ANSWER)] * 3,
        )
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("type", ["parquet", "sql", "xlsx"])
def test_value_of_the_wrong_type_is_reported_with_row_and_column(tmp_path: Path, type: str) -> None:
    own = {"sql": {"table": "t", "key": "id"}}.get(type, {})
    spec = typed_spec(tmp_path, type=type, types={"label": "integer"}, **own)
    with pytest.raises(InputError) as caught:
        write_sink(spec, Destination(tmp_path / "o"), outcome_record(output=TYPED_ANSWER))
    assert "the row 'k1': column 'label': 'a' is not a whole number" in str(caught.value)


def test_keys_missing_from_the_schema_are_kept(tmp_path: Path) -> None:
    spec = json.loads(typed_spec(tmp_path, type="parquet").path.read_text())
    spec["output"]["schema"]["properties"]["more"]["properties"] = {"k": {"type": "string"}}
    (tmp_path / "typed.yaml").write_text(json.dumps(spec))
    write_sink(
        load_spec(tmp_path / "typed.yaml"),
        Destination(tmp_path / "o"),
        outcome_record(output={**TYPED_ANSWER, "more": {"k": "a", "z": 1}}),
    )
    assert pq.read_table(tmp_path / "o").column("more").to_pylist() == ['{"k":"a","z":1}']
