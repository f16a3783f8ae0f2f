"""Dates and times that Python cannot hold are named with their row and column, if the column is taken."""

from pathlib import Path
from typing import Any

import openpyxl
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runner.errors import InputError
from runner.sources.given_rows import GivenRows
from runner.sources.input_files import Inputs
from runner.sources.read import read_rows
from runner.spec.spec import Source
from tests.support.servers import NewDatabase

DAYS = pa.array([*[0] * 600, 3_000_000, 0], pa.int32()).cast(pa.date32())
SECONDS = pa.array([*[0] * 600, 253_402_300_800, 0], pa.int64())


def read(root: Path, kind: str, *columns: str, types: Any = None, **options: Any) -> list[dict[str, Any]]:
    source = Source(kind, None, options, columns=columns, types=types or {})
    return [row.fields for row in read_rows(source, Inputs(root))]


@pytest.mark.parametrize(
    ("dates", "words"),
    [
        (DAYS, "the date 10183-09-21 is outside the years 1 to 9999"),
        (pa.array([*[0] * 600, -800_000, 0], pa.int32()).cast(pa.date32()), "the date -0221-09-04 is outside"),
        (SECONDS.cast(pa.timestamp("s")), "the date 10000-01-01 00:00:00.* is outside"),
        (SECONDS.cast(pa.timestamp("s", "UTC")), "the date 10000-01-01 00:00:00.*Z is outside"),
        (
            pa.array([*[[]] * 600, [3_000_000], []], pa.list_(pa.int32())).cast(pa.list_(pa.date32())),
            "a date in it is outside",
        ),
    ],
)
def test_date_out_of_range_in_parquet_is_named(tmp_path: Path, dates: Any, words: str) -> None:
    table = pa.table({"n": range(602), "due": dates})
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(InputError, match=rf"^t\.parquet:601: column 'due': {words}"):
        read(tmp_path, "parquet", path="t.parquet")
    assert len(read(tmp_path, "parquet", "n", path="t.parquet")) == 602


@pytest.mark.parametrize("convert", [lambda table: table, pl.from_arrow])
def test_date_out_of_range_in_given_rows_is_named(convert: Any) -> None:
    rows = GivenRows(convert(pa.table({"n": range(602), "due": DAYS})))
    with pytest.raises(InputError, match=r"row 601 cannot be read: column 'due': the date 10183-09-21"):
        list(rows)


@pytest.mark.parametrize("serial", [2_958_466, 99_999_999])
def test_date_out_of_range_in_a_workbook_is_named(tmp_path: Path, serial: int) -> None:
    book = openpyxl.Workbook()
    page = book.active
    assert page is not None
    for line in (["n", "due"], [1, 2_958_465], [2, serial]):
        page.append(line)
        page.cell(page.max_row, 2).number_format = "yyyy-mm-dd"
    book.save(tmp_path / "t.xlsx")
    words = rf"^t\.xlsx:3: B3 is the number {serial} as a date outside the years 1 to 9999: correct it"
    with pytest.raises(InputError, match=words):
        read(tmp_path, "xlsx", path="t.xlsx")
    assert read(tmp_path, "xlsx", "n", path="t.xlsx") == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("2016-12-31T23:59:60Z", "timestamp", "has a leap second, which is not supported: write the second as 59"),
        ("2016-12-31 23:59:60+00:00", "timestamp", "has a leap second"),
        ("10000-01-01", "date", "is outside the years 1 to 9999: write another date, or read it as text"),
        ("0000-01-01", "date", "is outside the years 1 to 9999"),
        ("-0044-03-15T00:00:00Z", "timestamp", "is outside the years 1 to 9999"),
        ("0001-01-01T00:00:00+10:00", "timestamp", "is outside the years 1 to 9999 in UTC"),
    ],
)
def test_text_that_is_no_date_of_python_says_why(tmp_path: Path, text: str, kind: str, words: str) -> None:
    (tmp_path / "t.csv").write_text(f"n,due\n1,{text}\n")
    with pytest.raises(InputError, match=rf"^t\.csv:2: cannot read due as {kind}: .* {words}"):
        read(tmp_path, "csv", path="t.csv", types={"due": kind})
    assert read(tmp_path, "csv", "n", path="t.csv") == [{"n": "1"}]
    assert read(tmp_path, "csv", path="t.csv", types={"due": "string"})[0]["due"] == text


@pytest.mark.server
def test_values_that_only_postgresql_can_hold_are_named(tmp_path: Path, new_database: NewDatabase) -> None:
    with new_database("postgres") as url:
        for value in (
            "'10000-01-01'::date", "'infinity'::timestamptz", "'0044-03-15 BC'::date", "'24:00:00'::time",
            "array['10000-01-01'::date]",
        ):  # fmt: skip
            query = f"SELECT n, CASE WHEN n = 3 THEN {value} END AS due FROM generate_series(1, 4) n"  # noqa: S608
            with pytest.raises(InputError, match=r":3: due is .*outside the years 1 to 9999 .*: convert it"):
                read(tmp_path, "sql", url=url, query=query)
            assert read(tmp_path, "sql", "n", url=url, query=query)[2] == {"n": 3}


@pytest.mark.server
def test_months_are_never_counted_as_days(tmp_path: Path, new_database: NewDatabase) -> None:
    query = "SELECT interval '1 month 2 days' a, interval '1 year' b, interval '26 hours' c, '2026-01-31'::date d"
    with new_database("postgres") as url:
        [found] = read(tmp_path, "sql", url=url, query=query)
    assert found == {"a": "1 mon 2 days", "b": "1 year", "c": "1 day, 2:00:00", "d": "2026-01-31"}
