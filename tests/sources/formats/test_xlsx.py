"""Workbooks as sources."""

import datetime
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.sources import read_all, read_error, read_fields, write_workbook


def test_sheet_rows_have_typed_values(tmp_path: Path) -> None:
    day = datetime.datetime(2026, 11, 25, 1, 2)
    write_workbook(
        tmp_path / "t.xlsx", [None], ["id", "n", "x", "at", "ok"], [1, 2, 0.5, day, True], [None], ["a", 3]
    )
    assert [(row.line, row.fields) for row in read_all(tmp_path, "xlsx", "t.xlsx")] == [
        (3, {"id": 1, "n": 2, "x": 0.5, "at": "2026-11-25T01:02:00", "ok": True}),
        (5, {"id": "a", "n": 3, "x": None, "at": None, "ok": None}),
    ]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([["a", "a"], [1, 2]], "t.xlsx:1: two columns are named 'a' in row 1, the header"),
        ([["a", None, "c"], [1, 2, 3]], "t.xlsx:1: column 2 has no name in row 1, the header"),
        ([["a"], [1], [2, 3]], "t.xlsx:3: there is a value outside the 1 columns of the header"),
        ([["a"], ["#REF!"]], "t.xlsx:2: A2 contains the error #REF!"),
        ([], "t.xlsx: the sheet is empty: expected a header row"),
        ([["a"]], "t.xlsx: the source has no rows"),
    ],
)
def test_malformed_sheet_is_reported_with_its_row(tmp_path: Path, lines: list[list[Any]], words: str) -> None:
    write_workbook(tmp_path / "t.xlsx", *lines)
    assert read_error(tmp_path, "xlsx", "t.xlsx") == words


def test_invalid_workbook_or_missing_sheet_is_reported(tmp_path: Path) -> None:
    (tmp_path / "no.xlsx").write_bytes(b"PK\x03\x04 no zip")
    assert read_error(tmp_path, "xlsx", "no.xlsx").startswith(
        "no.xlsx: cannot be read as an Excel workbook (.xlsx, without a password): "
    )
    write_workbook(tmp_path / "t.xlsx", ["a"], [1], sheet="Data")
    assert (
        read_error(tmp_path, "xlsx", "t.xlsx", sheet="Dat") == "t.xlsx: there is no sheet 'Dat': the file has Data"
    )
    assert read_fields(tmp_path, "xlsx", "t.xlsx", sheet="Data") == [{"a": 1}]


def test_workbook_with_a_false_size_loses_no_row(tmp_path: Path) -> None:
    write_workbook(tmp_path / "t.xlsx", ["a", "b"], [1, 2], [3, 4])
    with zipfile.ZipFile(tmp_path / "t.xlsx") as before, zipfile.ZipFile(tmp_path / "u.xlsx", "w") as after:
        for name in before.namelist():
            after.writestr(name, before.read(name).replace(b'<dimension ref="A1:B3"', b'<dimension ref="A1"'))
    assert (
        read_fields(tmp_path, "xlsx", "u.xlsx")
        == read_fields(tmp_path, "xlsx", "t.xlsx")
        == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]
    )


def test_date_cell_is_read_as_a_date(tmp_path: Path) -> None:
    write_workbook(tmp_path / "t.xlsx", ["day", 2024], [datetime.date(2026, 11, 25), 1])
    assert read_fields(
        tmp_path,
        "xlsx",
        "t.xlsx",
    ) == [{"day": "2026-11-25", "2024": 1}]
