"""CSV sinks: headers, delimiters, and no cell that runs as a formula."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runner.errors import InputError
from runner.sinks.destination import Destination
from runner.sinks.formats.csv import write_csv
from runner.templates.expressions import RECORD_FIELDS
from tests.support.fuzzing import CELL_VALUES, TEXT
from tests.support.sinks import csv_cells, outcome_record, spec_with, written_bytes


def guarded(value: Any) -> str:
    """The text that a CSV sink writes for one value."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "guarded"
        with write_csv(Destination(path), ["v"]) as write:
            write([value])
        return csv_cells(path.read_bytes())[1][0]


def test_csv_has_a_header_and_nested_values_as_json(tmp_path: Path) -> None:
    data = written_bytes(tmp_path, [outcome_record(output=[1, {"é": None}], error={"type": "x"})], type="csv")
    header, row = csv_cells(data)
    assert header == [*RECORD_FIELDS[:3], "reason", *RECORD_FIELDS[3:]]
    assert row[:6] == ["k1", '{"a":1}', "succeeded", "", '[1,{"é":null}]', '{"type":"x"}']
    assert row[6:] == [""] * 5


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
