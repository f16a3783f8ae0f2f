"""Workbooks as sources."""

import datetime
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from runner.errors import InputError
from runner.sources.input_files import Inputs
from runner.sources.read import read_rows
from runner.spec.spec import Source
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
        (
            [["a", "a"], [1, 2]],
            "t.xlsx:1: two columns are named 'a' in row 1, the header: give each column a name of its own",
        ),
        (
            [["a", None, "c"], [1, 2, 3]],
            (
                "t.xlsx:1: column 2 has no name in row 1, the header: give each column a name of its own, "
                'or read only columns that have one, with `columns: ["a", "c"]` in the source'
            ),
        ),
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


def edit_sheet(path: Path, before: bytes, after: bytes) -> None:
    """Replace bytes in the XML of the first sheet of a workbook."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    assert before in files[sheet]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data.replace(before, after) if name == sheet else data)


def take(root: Path, *columns: str) -> list[dict[str, Any]]:
    source = Source("xlsx", None, {"path": "t.xlsx"}, columns=columns)
    return [row.fields for row in read_rows(source, Inputs(root))]


UNCOMPUTED = "is a formula without a stored result: open the workbook in Excel or LibreOffice and save it"


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        ([["a", "b"], [1, "=A2*2"]], "t.xlsx:2: B2"),
        ([["a", "b"], [1, 2], ["=A2", "=B2"]], "t.xlsx:3: A3"),
        ([["a", "=A1"], [1, 2]], "t.xlsx:1: B1"),
        ([["a"], [1], ["", "=A2"]], "t.xlsx:3: B3"),
        ([["a"], *[[n] for n in range(40_000)], ["=A2"]], "t.xlsx:40002: A40002"),
    ],
)
def test_formula_without_a_result_is_never_an_empty_cell(
    tmp_path: Path, lines: list[list[Any]], place: str
) -> None:
    write_workbook(tmp_path / "t.xlsx", *lines)
    assert read_error(tmp_path, "xlsx", "t.xlsx").startswith(f"{place} {UNCOMPUTED}")


def test_formula_with_a_result_is_read(tmp_path: Path) -> None:
    write_workbook(tmp_path / "t.xlsx", ["a", "b", "c"], [1, "=A2*2", 'x=""'])
    edit_sheet(tmp_path / "t.xlsx", b"<f>A2*2</f><v />", b"<f>A2*2</f><v>2</v>")
    assert read_fields(tmp_path, "xlsx", "t.xlsx") == [{"a": 1, "b": 2, "c": 'x=""'}]


def test_formula_of_the_empty_text_is_an_empty_cell(tmp_path: Path) -> None:
    write_workbook(tmp_path / "t.xlsx", ["a", "b"], [1, '=""'])
    edit_sheet(tmp_path / "t.xlsx", b'<c r="B2">', b'<c r="B2" t="str">')
    assert read_fields(tmp_path, "xlsx", "t.xlsx") == [{"a": 1, "b": None}]


def test_cells_of_columns_that_nobody_takes_do_no_harm(tmp_path: Path) -> None:
    write_workbook(tmp_path / "t.xlsx", ["a", "b", "b", None, "c"], [1, "#N/A", "=A2", 2, 3, 4], [5, 6, 7, 8, 9])
    assert take(tmp_path, "a", "c") == [{"a": 1, "c": 3}, {"a": 5, "c": 9}]
    with pytest.raises(InputError, match="two columns are named 'b'"):
        take(tmp_path, "a", "b")


def test_whole_numbers_stored_as_decimals_are_integers(tmp_path: Path) -> None:
    write_workbook(tmp_path / "t.xlsx", ["id", 2024], [1, 0.5], [20, 3])
    changes = ((b"<v>2024</v>", b"<v>2024.0</v>"), (b"<v>1</v>", b"<v>1.0</v>"), (b"<v>20</v>", b"<v>2.0E1</v>"))
    for before, after in changes:
        edit_sheet(tmp_path / "t.xlsx", before, after)
    rows = read_all(tmp_path, "xlsx", "t.xlsx", key="id")
    assert [(row.key, row.fields) for row in rows] == [(1, {"id": 1, "2024": 0.5}), (20, {"id": 20, "2024": 3})]
    assert str(rows[0].key) == "1"


def test_the_first_visible_sheet_is_the_default(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    hidden, shown = book.worksheets[0], book.create_sheet("Shown")
    hidden.title, hidden.sheet_state = "Hidden", "hidden"
    for page in (hidden, shown):
        page.append(["where"])
        page.append([page.title])
    book.save(tmp_path / "t.xlsx")
    assert read_fields(tmp_path, "xlsx", "t.xlsx") == [{"where": "Shown"}]
    assert read_fields(tmp_path, "xlsx", "t.xlsx", sheet="Hidden") == [{"where": "Hidden"}]


TRANSITIONAL, STRICT = b"http://schemas.openxmlformats.org/", b"http://purl.oclc.org/ooxml/"


def test_strict_workbook_says_how_to_save_it(tmp_path: Path) -> None:
    write_workbook(tmp_path / "t.xlsx", ["a"], [1])
    with zipfile.ZipFile(tmp_path / "t.xlsx") as before, zipfile.ZipFile(tmp_path / "s.xlsx", "w") as after:
        for name in before.namelist():
            text = before.read(name).replace(TRANSITIONAL + b"officeDocument/2006/", STRICT + b"officeDocument/")
            text = text.replace(TRANSITIONAL + b"spreadsheetml/2006/", STRICT + b"spreadsheetml/")
            after.writestr(name, text)
    assert read_error(tmp_path, "xlsx", "s.xlsx").startswith("s.xlsx: is a Strict Open XML workbook: save it as")
