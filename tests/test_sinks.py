"""Outcomes become files: whole or not at all, the same bytes for the same rows, nothing that runs as a formula."""

import csv
import gzip
import inspect
import io
import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runner.errors import InputError
from runner.sinks.check import check_sinks
from runner.sinks.destination import Destination, resolve_destination
from runner.sinks.formats.csv import write_csv
from runner.sinks.open import open_sink
from runner.sinks.registry import SINKS
from runner.spec.load import load_spec
from runner.spec.schema_errors import schema_text
from runner.spec.spec import Spec
from runner.templates.expressions import RECORD_FIELDS

COMMON = {"type", "path", "url", "rows", "columns", "types", "name", "content"}
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NESTED: Any = 1
for _ in range(3000):
    NESTED = [NESTED]
CELL_VALUES = st.none() | st.booleans() | st.integers() | TEXT | st.lists(st.integers(), max_size=3)


def spec_with(root: Path, *sinks: dict[str, Any]) -> Spec:
    """A spec with these sinks, written into `root`."""
    spec = {
        "version": 1,
        "name": "t",
        "source": {"type": "csv", "path": "in.csv"},
        "prompt": {"user": "x"},
        "params": {"model": "m", "max_tokens": 9},
        "sinks": [{"type": "jsonl", "path": "out/o", **sink} for sink in sinks],
    }
    (root / "t.yaml").write_text(json.dumps(spec, indent=1))
    return load_spec(root / "t.yaml")


def outcome_record(outcome: str = "succeeded", **known: Any) -> dict[str, Any]:
    """What is known of one row at the end."""
    return {**dict.fromkeys(RECORD_FIELDS), "key": "k1", "row": {"a": 1}, "outcome": outcome, **known}


def written_bytes(root: Path, records: Iterable[dict[str, Any]], *, name: str = "o", **sink: Any) -> bytes:
    """The bytes of the file that a sink makes of records."""
    path = root / "out" / name
    with open_sink(spec_with(root, sink), 0, Destination(path), {}) as take:
        for each in records:
            take(each)
    return path.read_bytes()


def csv_cells(data: bytes, delimiter: str = ",") -> list[list[str]]:
    """The rows of a CSV file, header first."""
    return list(csv.reader(io.StringIO(data.decode(), newline=""), delimiter=delimiter, strict=True))


def guarded(value: Any) -> str:
    """What a CSV sink makes of one value."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "guarded"
        with write_csv(Destination(path), ["v"]) as write:
            write([value])
        return csv_cells(path.read_bytes())[1][0]


@pytest.mark.parametrize("type", sorted(SINKS))
def test_sink_options_match_the_function_parameters(type: str) -> None:
    branches = json.loads(schema_text())["properties"]["sinks"]["items"]["allOf"]
    found = {branch["if"]["properties"]["type"]["const"]: branch["then"]["properties"] for branch in branches}
    place, columns, *options = inspect.signature(SINKS[type]).parameters.values()
    assert [place.name, columns.name] == ["place", "columns"]
    assert {option.name for option in options} == set(found[type]) - COMMON
    assert all(option.kind is option.KEYWORD_ONLY for option in options)


def test_schema_lists_every_sink_and_its_defaults() -> None:
    sinks = json.loads(schema_text())["properties"]["sinks"]["items"]
    assert sorted(sinks["properties"]["type"]["enum"]) == sorted(SINKS)
    for branch in sinks["allOf"]:
        options = inspect.signature(SINKS[branch["if"]["properties"]["type"]["const"]]).parameters
        described = branch["then"]["properties"]
        own = {name for name in set(described) - COMMON if name not in branch["then"]["required"]}
        assert {name: described[name]["default"] for name in own} == {name: options[name].default for name in own}


def test_jsonl_has_one_full_object_per_row(tmp_path: Path) -> None:
    rows = [
        outcome_record(output={"t": "é\u2028\n"}),
        outcome_record("invalid", key="k2", output=[1, {"n": 10**30}]),
    ]
    data = written_bytes(tmp_path, rows)
    assert [json.loads(line) for line in data.split(b"\n")[:-1]] == rows
    assert list(json.loads(data.split(b"\n")[0])) == list(RECORD_FIELDS)


def test_csv_has_a_header_and_nested_values_as_json(tmp_path: Path) -> None:
    data = written_bytes(tmp_path, [outcome_record(output=[1, {"é": None}], error={"type": "x"})], type="csv")
    header, row = csv_cells(data)
    assert header == list(RECORD_FIELDS)
    assert row[:5] == ["k1", '{"a":1}', "succeeded", '[1,{"é":null}]', '{"type":"x"}']
    assert row[5:] == [""] * 5


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


def test_a_csv_can_have_another_delimiter(tmp_path: Path) -> None:
    columns = {"k": "key", "t": "output"}
    data = written_bytes(tmp_path, [outcome_record(output="a;b,c")], type="csv", delimiter=";", columns=columns)
    assert csv_cells(data, ";") == [["k", "t"], ["k1", "a;b,c"]]


@pytest.mark.parametrize("delimiter", ['"', "\n", "\r", "\0", "", ";;"])
def test_invalid_delimiter_is_rejected(tmp_path: Path, delimiter: str) -> None:
    with pytest.raises(
        InputError, match=r"sinks\.0\.delimiter .* one character that is not a quote or a line break"
    ):
        spec_with(tmp_path, {"type": "csv", "delimiter": delimiter})


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(CELL_VALUES, CELL_VALUES), max_size=5))
@example([("a\rb", "z"), ("\rx", "\r"), ("x\r\n", "\n\r")])
def test_a_csv_without_guard_reads_back_as_it_was_written(rows: list[tuple[Any, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plain"
        with write_csv(Destination(path), ["a", "b"], formula_guard=False) as write:
            for row in rows:
                write(row)
        data = path.read_bytes()
    shown = [
        ["" if v is None else v if isinstance(v, str) else json.dumps(v, separators=(",", ":")) for v in row]
        for row in rows
    ]
    assert csv_cells(data) == [["a", "b"], *shown]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["a", "b"]), CELL_VALUES), max_size=5))
def test_jsonl_reads_back_as_it_was_written(values: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plain"
        with SINKS["jsonl"](Destination(path), ["v", "n"]) as write:
            for number, value in enumerate(values):
                write([value, number])
        lines = path.read_bytes().split(b"\n")[:-1]
    assert [json.loads(line) for line in lines] == [{"v": value, "n": n} for n, value in enumerate(values)]


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1+1",
        "-1-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "-2+3+cmd|' /C calc'!A0",
        "+33 1 23",
        "=",
        "-x",
        "=-1",
        "--1",
    ],
)
def test_text_like_a_formula_gets_an_apostrophe(tmp_path: Path, text: str) -> None:
    options: dict[str, Any] = {"type": "csv", "columns": {"t": "output", "k": "key"}}
    rows = [outcome_record(output=text)]
    assert b"'" + text.encode() in written_bytes(tmp_path, rows, **options).replace(b'""', b'"')
    assert b"'" + text.encode() not in written_bytes(tmp_path, rows, name="n", formula_guard=False, **options)


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (-5, "-5"),
        (-5.25, "-5.25"),
        (-1e-7, "-1e-07"),
        (-(10**30), str(-(10**30))),
        ("-5", "-5"),
        ("+5.25", "+5.25"),
        ("-1,234.50", "-1,234.50"),
        ("-12%", "-12%"),
        ("-1e5", "-1e5"),
        ("-1.5E+10", "-1.5E+10"),
        ("+1E-3", "+1E-3"),
        ("a=b", "a=b"),
        ("'=1", "'=1"),
        (True, "true"),
        (None, ""),
        (["=1"], '["=1"]'),
        ({}, "{}"),
    ],
)
def test_numbers_and_harmless_text_stay_as_they_are(value: Any, cell: str) -> None:
    assert guarded(value) == cell


@given(TEXT)
def test_guarded_cell_never_starts_a_formula(text: str) -> None:
    cell = guarded(text)
    assert cell in (text, f"'{text}")
    assert not cell.startswith(("=", "@", "\t", "\r"))


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


def test_all_bad_columns_are_reported_with_their_lines(tmp_path: Path) -> None:
    first = {"columns": {"ok": "key", "bad": "key +", "typo": "outptu.x"}}
    spec = spec_with(tmp_path, first, {"path": "out/p", "columns": {"worse": "lipsum()"}})
    lines = (tmp_path / "t.yaml").read_text().splitlines()
    problems = check_sinks(spec)
    assert [lines[problem.line - 1].split('"')[1] for problem in problems] == ["bad", "typo", "worse"]
    assert "did you mean 'output'?" in problems[1].message


@pytest.mark.parametrize(
    ("path", "base", "expected"),
    [
        ("out/a", ".", "out/a"),
        ("out/a", "simulated", "simulated/out/a"),
        ("/tmp/a", ".", "/tmp/a"),  # noqa: S108 - nothing is written there
        ("/tmp/a", "simulated", "simulated/tmp/a"),  # noqa: S108
        ("s3://bucket/../a/b?.csv", "simulated", "simulated/s3/bucket/a/b_.csv"),
    ],
)
def test_a_simulated_run_writes_below_its_own_folder(tmp_path: Path, path: str, base: str, expected: str) -> None:
    (sink,) = spec_with(tmp_path, {"path": path}).sinks
    assert resolve_destination(sink, root=tmp_path, base=tmp_path / base).path == tmp_path / expected
