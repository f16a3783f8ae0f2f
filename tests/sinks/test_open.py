"""Outputs appear whole or not at all, and take only their rows and columns."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from runner.errors import InputError
from runner.sinks.destination import Destination
from runner.sinks.open import open_sink
from tests.support.fuzzing import NESTED
from tests.support.sinks import csv_cells, outcome_record, spec_with, write_sink, written_bytes


@pytest.mark.parametrize("type", ["csv", "jsonl"])
@pytest.mark.parametrize(
    ("rows", "keys"), [("all", ["1", "2", "3"]), ("succeeded", ["1"]), ("failed", ["2", "3"])]
)
def test_sink_takes_only_its_rows(tmp_path: Path, type: str, rows: str, keys: list[str]) -> None:
    spec = spec_with(tmp_path, {"type": type, "rows": rows, "columns": {"key": "key"}})
    path = tmp_path / "out" / "o"
    with open_sink(spec, 0, Destination(path), {}) as take:
        outcomes = enumerate(["succeeded", "invalid", "expired"], 1)
        taken = [str(n) for n, outcome in outcomes if take(outcome_record(outcome, key=str(n)))]
    assert taken == keys
    assert [line for line in path.read_text().split() if line != "key"] == [
        key if type == "csv" else json.dumps({"key": key}, separators=(",", ":")) for key in keys
    ]


@pytest.mark.parametrize(
    ("source", "value", "text", "remedy"),
    [
        (
            {},
            562.36,
            "output.total * 1.19",
            "round it in the column of the spec (`gross: (output.total * 1.19) |",
        ),
        ({}, "1.005", "output.total", "(`gross: output.total | float | round(2)`), or write it as text"),
        (
            {"type": "sql", "path": "a.db", "query": "SELECT 1 AS total"},
            1.005,
            "row.total",
            "; round it in the query (`ROUND(total, 2)`), or round it in the column of the spec",
        ),
    ],
)
def test_row_with_too_many_decimals_is_to_be_rounded(
    tmp_path: Path, source: dict[str, Any], value: Any, text: str, remedy: str
) -> None:
    sink = {"type": "xlsx", "path": "o.xlsx", "columns": {"gross": text}, "types": {"gross": "decimal(12,2)"}}
    spec = spec_with(tmp_path, sink, **({"source": source} if source else {}))
    record = outcome_record(key="a", output={"total": value}, row={"total": value})
    with pytest.raises(InputError) as caught:
        write_sink(spec, Destination(tmp_path / "o.xlsx"), record)
    assert remedy in str(caught.value) and "fix the sink" not in str(caught.value)
    assert str(caught.value).endswith("and run again: nothing is lost, and no request is sent twice")


@pytest.mark.parametrize("type", ["csv", "jsonl"])
def test_columns_keep_their_order_and_missing_values_are_empty(tmp_path: Path, type: str) -> None:
    columns = {"total, net": "output.total", "who": "row.a", "no": "output.no.such", "n": "output.lines|length"}
    data = written_bytes(
        tmp_path, [outcome_record(output={"total": -1.5, "lines": [1, 2]})], type=type, columns=columns
    )
    if type == "csv":
        assert data == b'"total, net",who,no,n\n-1.5,1,,2\n'
    else:
        assert data == b'{"total, net":-1.5,"who":1,"no":null,"n":2}\n'


def test_no_rows_give_an_empty_jsonl_and_a_csv_header(tmp_path: Path) -> None:
    assert written_bytes(tmp_path, [], name="a") == b""
    assert written_bytes(tmp_path, [], name="b", type="csv", columns={"k": "key", "o": "outcome"}) == b"k,o\n"


@pytest.mark.parametrize("type", ["csv", "jsonl"])
def test_gz_output_is_reproducible(tmp_path: Path, type: str) -> None:
    rows = [outcome_record(key=str(n)) for n in range(500)]
    first, second = (written_bytes(tmp_path, rows, name=name, type=type) for name in ("a.gz", "a.gz"))
    renamed = written_bytes(tmp_path, rows, name="b.gz", type=type)
    assert first == second == renamed
    assert gzip.decompress(first) == written_bytes(tmp_path, rows, name="plain", type=type)


@pytest.mark.parametrize("name", ["o.csv", "o.csv.gz"])
@pytest.mark.parametrize("old", [None, b"old"])
def test_error_leaves_only_the_old_file(tmp_path: Path, name: str, old: bytes | None) -> None:
    path = tmp_path / "out" / name
    path.parent.mkdir()
    if old is not None:
        path.write_bytes(old)
    with (
        pytest.raises(KeyboardInterrupt),
        open_sink(spec_with(tmp_path, {"type": "csv"}), 0, Destination(path), {}) as take,
    ):
        take(outcome_record())
        raise KeyboardInterrupt
    assert [file.read_bytes() for file in path.parent.iterdir()] == ([] if old is None else [old])


def test_output_appears_only_when_complete(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "o.jsonl"
    with open_sink(spec_with(tmp_path, {}), 0, Destination(path), {}) as take:
        take(outcome_record())
        assert not path.exists()
    assert [file.name for file in path.parent.iterdir()] == ["o.jsonl"]


def test_leftover_of_a_killed_process_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "out" / "o"
    path.parent.mkdir()
    path.with_name(".o.tmp").write_bytes(b"half a li")
    assert written_bytes(tmp_path, [outcome_record()], columns={"k": "key"}) == b'{"k":"k1"}\n'
    assert [file.name for file in path.parent.iterdir()] == ["o"]


@pytest.mark.parametrize("type", ["csv", "jsonl"])
@pytest.mark.parametrize(
    ("text", "output", "why"),
    [
        ("1 / output", 0, "division by zero"),
        ("output + 1", "x", "concatenate"),
        ("output", "\ud800", "surrogates"),
        ("output", NESTED, "recursion"),
        ("output|tojson", NESTED, "recursion"),
        ("output|map(attribute='b')|list", [{"a": 1}], "Undefined"),
        ("output[0].items()", [{"a": 1}], "dict_items"),
        ("output[0].items if true else 1", [{"a": 1}], "method"),
        ("namespace(a=1)", 1, "Namespace"),
    ],
    ids=lambda value: None if value is not NESTED else "nested",
)
def test_failing_column_is_reported_with_row_and_place(
    tmp_path: Path, type: str, text: str, output: Any, why: str
) -> None:
    with pytest.raises(InputError, match=why) as caught:
        written_bytes(
            tmp_path,
            [outcome_record(), outcome_record(key="k2", output=output)][-1:],
            type=type,
            columns={"c": text},
        )
    (problem,) = caught.value.problems
    assert problem.path.endswith("t.yaml") and problem.line > 0
    assert "the row 'k2'" in problem.message
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("type", ["csv", "jsonl"])
def test_lazy_sequence_is_written_as_a_list(tmp_path: Path, type: str) -> None:
    columns = {"c": "output|map(attribute='a')"}
    data = written_bytes(tmp_path, [outcome_record(output=[{"a": 1}, {"a": "x"}])], type=type, columns=columns)
    shown = csv_cells(data)[1][0] if type == "csv" else data.decode().removeprefix('{"c":').removesuffix("}\n")
    assert json.loads(shown) == [1, "x"]


def test_failing_sink_is_reported(tmp_path: Path) -> None:
    spec = spec_with(tmp_path, {"type": "parquet", "columns": {"n": "output"}, "types": {"n": "integer"}}, {})
    with (
        pytest.raises(
            InputError,
            match=r"row 1: column 'n': the type int64 cannot hold 1.*64 bits.*first",
        ),
        open_sink(spec, 0, Destination(tmp_path / "first"), {}) as first,
        open_sink(spec, 1, Destination(tmp_path / "second"), {}) as second,
    ):
        for take in (first, second):
            take(outcome_record(key=1, output=2**64 - 1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["second", "t.yaml"]


@pytest.mark.parametrize("type", ["csv", "jsonl", "xlsx"])
@pytest.mark.parametrize("text", ["output * 1e308", "[output * 1e308]", "{'a': output * 1e308}"])
def test_infinite_number_is_not_written_as_null(tmp_path: Path, type: str, text: str) -> None:
    spec = spec_with(tmp_path, {"type": type, "columns": {"id": "key", "n": text}})
    with pytest.raises(InputError, match=r"row 'k1': column 'n': the computed number is inf"):
        write_sink(spec, Destination(tmp_path / "o"), outcome_record(output=1e9))
