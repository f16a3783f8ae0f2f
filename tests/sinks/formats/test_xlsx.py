"""Workbook sinks: numbers, dates, and text that is no formula."""

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from runner.errors import InputError
from runner.sinks.destination import Destination
from runner.sinks.formats.xlsx import write_xlsx
from tests.support.sinks import FAILED_RECORD, TYPED_ANSWER, outcome_record, spec_with, typed_spec, write_sink


def test_workbook_has_numbers_dates_and_no_formulas(tmp_path: Path) -> None:
    spec = typed_spec(tmp_path, type="xlsx", sheet="Out")
    answer = {**TYPED_ANSWER, "label": "=1+1\x07", "count": 10**17}
    write_sink(spec, Destination(tmp_path / "o.xlsx"), outcome_record(output=answer), FAILED_RECORD)
    page = openpyxl.load_workbook(tmp_path / "o.xlsx")["Out"]
    header, first, second = page.iter_rows()
    found = {str(name.value): cell for name, cell in zip(header, first, strict=True)}
    assert {name: cell.value for name, cell in found.items()} == {
        "id": "k1", "total": 3, "count": "100000000000000000", "sure": True, "money": 3,
        "day": datetime.datetime(2026, 11, 25), "label": "=1+1_x0007_", "row": '{"a":1}', "why": None,
        "lines": '[{"name":"x","n":1},{"name":"é"}]', "more": '{"k":[1]}',
    }  # fmt: skip
    assert found["label"].data_type == "s"
    assert [cell.value for cell in second][-1] == "not JSON"


def test_text_too_long_for_a_cell_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a cell can hold at most 32,767 characters, but this text has 40,000"):
        write_sink(
            spec_with(tmp_path, {"type": "xlsx"}),
            Destination(tmp_path / "o"),
            outcome_record(key=1, output="x" * 40_000),
        )
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (datetime.time(1, 2, 3), datetime.time(1, 2, 3)),
        (b"\xff\x00", "/wA="),
        (Decimal("12345678901234567890.12"), "12345678901234567890.12"),
        (Decimal("12.50"), 12.5),
    ],
)
def test_workbook_keeps_values_as_exactly_as_possible(tmp_path: Path, value: Any, kept: Any) -> None:
    with write_xlsx(Destination(tmp_path / "o.xlsx"), {"v": {}}) as put:
        put([value])
    page = openpyxl.load_workbook(tmp_path / "o.xlsx").active
    assert page is not None and page["A2"].value == kept


@pytest.mark.parametrize(
    ("day", "kept"),
    [
        ("0001-01-01", "0001-01-01"),
        ("1899-12-31", "1899-12-31"),
        ("1900-01-01", datetime.datetime(1900, 1, 1)),
        ("9999-12-31", datetime.datetime(9999, 12, 31)),
    ],
)
def test_dates_before_those_of_excel_are_text(tmp_path: Path, day: str, kept: Any) -> None:
    spec = spec_with(tmp_path, {"type": "xlsx", "columns": {"day": "output"}, "types": {"day": "date"}})
    write_sink(spec, Destination(tmp_path / "o.xlsx"), outcome_record(output=day))
    page = openpyxl.load_workbook(tmp_path / "o.xlsx").active
    assert page is not None and page["A2"].value == kept


def test_text_with_escaped_characters_is_cut_by_the_spec_alone(tmp_path: Path) -> None:
    sink, text = {"type": "xlsx", "columns": {"t": "output"}}, "\x07" * 5_000
    with pytest.raises(InputError, match=r"this text has 35,000 \(.*a control character as 7\)"):
        write_sink(spec_with(tmp_path, sink), Destination(tmp_path / "o.xlsx"), outcome_record(output=text))
    cut = spec_with(tmp_path, {**sink, "overflow": "cut"})
    write_sink(cut, Destination(tmp_path / "o.xlsx"), outcome_record(output=text))
    page = openpyxl.load_workbook(tmp_path / "o.xlsx").active
    assert page is not None and page["A2"].value == "_x0007_" * 4_681
