"""Random and damaged CSV: the right records, or an error with a line."""

import csv
import gzip
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runner.sources.input_files import Inputs
from runner.sources.read import Row, read_rows
from runner.spec.spec import Source
from tests.support.fuzzing import EDITS, count_lines, edited, rows_before_mistake, tries

pytestmark = pytest.mark.slow

CSV = (
    b'id,subject,body\r\nt1,Late,"Where is it?\r\nIt is late."\r\n'
    b't2,"a ""b""",\r\n\r\nt3,\xc3\xa9t\xc3\xa9,"x,y"\r\n'
    b't4,"","\n"\r\n'
)


def assert_rows_are_the_records(data: bytes, rows: list[Row], mistake: int | None) -> None:
    """Check that the rows are those of the csv module alone, with nothing left out between two rows."""
    if mistake is not None:
        assert mistake <= count_lines(data)
    text = data.decode("utf-8-sig", "strict" if mistake is None else "replace")
    records = csv.reader(io.StringIO(text, newline=""), strict=mistake is None)
    header = next(records, [])
    expected = [dict(zip(header, cells, strict=False)) for cells in records if cells]
    if mistake is None:
        assert len(expected) == len(rows)
    assert [row.fields for row in rows] == expected[: len(rows)]
    assert all(len(row.fields) == len(header) for row in rows)


@tries(500)
@given(st.binary(max_size=60) | st.text('a,"\r\n\0\ufeff;é', max_size=30).map(str.encode))
@example(b"a\n\xff")
@example(b"a\rb\r\xff")
def test_any_bytes_are_csv_records_or_an_error_with_a_line(project: Path, data: bytes) -> None:
    assert_rows_are_the_records(data, *rows_before_mistake(project, "bytes.csv", data))


@tries(1000)
@given(EDITS)
def test_damaged_csv_gives_every_record_before_the_error(
    project: Path, edits: list[tuple[str, int, int, bytes]]
) -> None:
    data = edited(CSV, edits)
    assert_rows_are_the_records(data, *rows_before_mistake(project, "damaged.csv", data))


ENCODINGS = [
    "utf-8",
    "utf-8-sig",
    "utf-16",
    "utf-16-be",
    "utf-32",
    "latin-1",
    "cp1252",
    "cp037",
    "shift_jis",
    "utf-7",
]


@tries(400)
@given(
    st.sampled_from(ENCODINGS),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.lists(st.text(st.characters(codec="ascii", exclude_characters='"\0\r\n,'), max_size=9), max_size=6),
    st.binary(max_size=20),
)
@example("utf-16-be", "\n", ["ab", "c"], b"\x0a\x05\xdc\x00")
@example("utf-8", "\r", ["ab", "c"], b"\xff")
def test_csv_in_another_encoding_gives_rows_before_a_bad_byte(
    project: Path, encoding: str, end: str, cells: list[str], tail: bytes
) -> None:
    lines = ["column", "x", *(f"x{cell}" for cell in cells)]
    data = "".join(line + end for line in lines).encode(encoding) + tail
    rows, mistake = rows_before_mistake(project, "encoded.csv", data, encoding=encoding)
    read = ["column", *(row.fields["column"] for row in rows)]
    if mistake is None:
        assert read[: len(lines) - 1] == lines[:-1]
    else:
        assert mistake >= len(lines)
        assert read == lines[: len(read)]


CELL = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


@tries(500)
@given(
    st.integers(1, 4).flatmap(
        lambda width: st.tuples(
            st.lists(CELL.filter(str.strip), min_size=width, max_size=width, unique=True),
            st.lists(st.lists(CELL, min_size=width, max_size=width), min_size=1, max_size=6),
        )
    ),
    st.sampled_from([",", ";", "\t", "|", " ", "é", "\U0001f600", "x"]),
    st.sampled_from(["\r\n", "\n", "\r"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32-be", "utf-7"]),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    st.booleans(),
)
def test_output_of_the_csv_module_is_read_back(
    project: Path,
    table: tuple[list[str], list[list[str]]],
    delimiter: str,
    end: str,
    encoding: str,
    quoting: Any,
    is_packed: bool,
) -> None:
    header, records = table
    text = io.StringIO(newline="")
    # Told CR LF, the csv module quotes both in a field; the end of a record is put in its place afterwards.
    for record in (header, *records):
        line = io.StringIO(newline="")
        csv.writer(line, delimiter=delimiter, quoting=quoting).writerow(record)
        text.write(line.getvalue().removesuffix("\r\n") + end)
    data = text.getvalue().encode(encoding)
    name = "table.csv.gz" if is_packed else "table.csv"
    (project / name).write_bytes(gzip.compress(data, 1) if is_packed else data)
    source = Source("csv", None, {"path": name, "delimiter": delimiter, "encoding": encoding})
    found = list(read_rows(source, Inputs(project)))
    assert [list(row.fields.items()) for row in found] == [
        list(zip(header, record, strict=True)) for record in records
    ]
