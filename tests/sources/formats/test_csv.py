"""CSV files as sources."""

import csv
import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import InputError, Problem
from runner.sources.input_files import Inputs
from runner.sources.read import read_rows
from runner.spec.spec import Source
from tests.support.fuzzing import TABLES
from tests.support.sources import csv_bytes, read_all, read_problem


def test_csv_row_has_number_key_values_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'id,text\n007,"two\nlines"\n8,1.50\n')
    assert read_all(tmp_path, "csv", "a.csv", key="id") == [
        (1, "007", {"id": "007", "text": "two\nlines"}, "a.csv", 3),
        (2, "8", {"id": "8", "text": "1.50"}, "a.csv", 4),
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"a,b\n1,2\n",
        b"a,b\n1,2",
        b"a,b\r\n1,2\r\n",
        b"a,b\r1,2\r",
        b"\xef\xbb\xbfa,b\n1,2\n",
        b'"a","b"\n"1","2"\n',
        b"a,b\n\n1,2\n\n\n",
        b"a,b\r\n\r\n1,2\r\n",
    ],
)
def test_csv_ignores_line_ends_byte_order_mark_and_blanks(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(data)
    assert [row.fields for row in read_all(tmp_path, "csv", "a.csv")] == [{"a": "1", "b": "2"}]


@pytest.mark.parametrize("cell", ["x\u2028y", "x\x85y", "x\x0by", "x\x0cy", "x\x1cy", " x ", "'", 'a"b', "NULL"])
def test_only_an_end_of_line_ends_a_csv_record(tmp_path: Path, cell: str) -> None:
    (tmp_path / "a.csv").write_bytes(f"a,b\n{cell},2\n3,4\n".encode())
    assert [(row.fields["a"], row.line) for row in read_all(tmp_path, "csv", "a.csv")] == [(cell, 2), ("3", 3)]


@pytest.mark.parametrize(
    ("encoding", "delimiter"),
    [("latin-1", ";"), ("cp1252", "\t"), ("utf-16", "|"), ("utf-8", " "), ("utf-16-le", "§")],
)
def test_csv_uses_the_given_encoding_and_delimiter(tmp_path: Path, encoding: str, delimiter: str) -> None:
    (tmp_path / "a.csv").write_bytes(f"a{delimiter}b\ncafé,{delimiter}2\n".encode(encoding))
    [row] = read_all(tmp_path, "csv", "a.csv", encoding=encoding, delimiter=delimiter)
    assert row.fields == {"a": "café,", "b": "2"}


def test_csv_cell_may_exceed_the_csv_module_limit(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a\n" + b"x" * 300_000 + b"\n")
    assert len(read_all(tmp_path, "csv", "a.csv")[0].fields["a"]) == 300_000


@pytest.mark.parametrize(
    ("data", "line", "words"),
    [
        (b"a,b\n1,2\n1,2,3\n", 3, "the header has 2 fields, but this record has 3"),
        (b"a,b\n1\n", 2, "the header has 2 fields, but this record has 1"),
        (b"a;b\n1,5;2\n", 2, "this record has 2: if 'a;b' is several columns, set `delimiter: \";\"`"),
        (b"a\tb\n1,5\t2\n", 2, 'set `delimiter: "\\t"` in the source'),
        (b'a,b\n1,2\n"x\ny"\n', 4, "the header has 2 fields, but this record has 1"),
        (b'a,b\n1,2\n"x,3\n4,5\n', 3, "a quoted field is never closed"),
        (b'a,b\n1,2\n"x"y,3\n', 3, "not valid CSV"),
        (b'a,b\n"say \\"hi\\"",3\n', 2, "not valid CSV"),
        (b"a,b\n1,2\n3,\0\n", 3, "a NUL character"),
        (b"a,\0b\n1,2\n", 1, "a NUL character"),
        (b"a,b\n1,2\n\n3,caf\xe9\n", 4, "bytes e9 are not valid utf-8 text; set `encoding`"),
        (b"a,b\n" + b"1,2\n" * 9_000 + b"3,\xff\n", 9_002, "bytes ff are not valid utf-8"),
        (b"a,b\r\n" + b"1,2\r\n" * 9_001 + b"3,\xff\r\n", 9_003, "bytes ff are not valid utf-8"),
        (b"a,b\n1,\xc3", 2, "bytes c3 are not valid utf-8"),
        ("a,b\n1,2\n".encode("utf-16"), 0, "is UTF-16 text, by its byte order mark: set `encoding: utf-16`"),
        (b"a, \n1,2\n", 1, "column 2 has no name in the header"),
        (b"a,,b\n1,2,3\n", 1, "column 2 has no name in the header"),
        (b"a,b,a\n1,2,3\n", 1, "two columns are named 'a'"),
        (b"a,b\n", 0, "the source has no rows"),
        (b"", 0, "the file is empty: expected a header line"),
        (b"\n1,2\n", 1, "the header line is empty"),
    ],
)
def test_malformed_csv_is_reported_with_its_line(tmp_path: Path, data: bytes, line: int, words: str) -> None:
    (tmp_path / "a.csv").write_bytes(data)
    found = read_problem(tmp_path, "csv", "a.csv")
    assert (found.path, found.line) == ("a.csv", line)
    assert words in found.message


@pytest.mark.parametrize(
    ("header", "remedy"),
    [
        ("id,,text", 'or read only columns that have one, with `columns: ["id", "text"]` in the source'),
        ("id,text,a b,text", 'or read only columns that have one, with `columns: ["id", "a b"]` in the source'),
        (",".join([*"abcdefghij", "x", "x"]), '"g", "h", …]` in the source'),
        ("x,x", "give each column a name of its own"),
    ],
)
def test_blank_or_repeated_header_has_a_remedy(tmp_path: Path, header: str, remedy: str) -> None:
    (tmp_path / "a.csv").write_text(f"{header}\n")
    found = read_problem(tmp_path, "csv", "a.csv")
    assert found.remedy.endswith(remedy)
    assert found.message.endswith(found.remedy)


def test_rows_before_a_mistake_are_yielded_first(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b\n1,2\n3\n")
    found = read_rows(Source("csv", None, {"path": "a.csv"}), Inputs(tmp_path))
    assert next(found).fields == {"a": "1", "b": "2"}
    with pytest.raises(InputError, match=r"^a\.csv:3: the header has 2 fields, but this record has 1"):
        next(found)


@pytest.mark.parametrize(
    ("data", "encoding", "line"),
    [
        ("a\nਅਅਅ\n".encode("utf-16") + b"\x00\xdc", "utf-16", 3),
        (b"\xfe\xff" + "a\nਅਅਅ\n".encode("utf-16-be") + b"\xdc\x00", "utf-16", 3),
        (b"\xfe\xff" + "a\nਅb\n".encode("utf-16-be") * 9_000 + b"\xdc\x00", "utf-16", 18_001),
        ("a\nਊb\n".encode("utf-32") + b"\xff\xff\xff\xff", "utf-32", 3),
        (b"a\rb\rc\r\xff\r", "utf-8", 4),
        (b"a\r\nb\rc\n\x81", "cp1252", 4),
    ],
)
def test_the_line_of_a_bad_byte_is_counted_in_characters(
    tmp_path: Path, data: bytes, encoding: str, line: int
) -> None:
    (tmp_path / "a.csv").write_bytes(data)
    assert read_problem(tmp_path, "csv", "a.csv", encoding=encoding).line == line


def test_unknown_encoding_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a\n1\n")
    assert "'utf-9'" in read_problem(tmp_path, "csv", "a.csv", encoding="utf-9").message


def test_second_file_with_a_different_header_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a,b\n1,2\n")
    (tmp_path / "2.csv").write_text("b,a\n1,2\n")
    found = read_problem(tmp_path, "csv", "*.csv")
    assert found == Problem("2.csv", "the header is b, a, but earlier files have a, b", 1)


def test_one_of_several_files_may_have_no_rows(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a,b\n")
    (tmp_path / "2.csv").write_text("a,b\n1,2\n")
    assert [(row.number, row.path, row.line) for row in read_all(tmp_path, "csv", "*.csv")] == [(1, "2.csv", 2)]


@settings(max_examples=100, deadline=None)
@given(TABLES, st.sampled_from([",", ";", "\t", "é"]), st.sampled_from(["a.csv", "a.csv.gz"]))
def test_csv_round_trip(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]], delimiter: str, name: str
) -> None:
    root = tmp_path_factory.getbasetemp()
    data = csv_bytes([("x", "y"), *cells], delimiter=delimiter, quoting=csv.QUOTE_ALL)
    (root / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    found = read_all(root, "csv", name, delimiter=delimiter)
    assert [(row.fields["x"], row.fields["y"]) for row in found] == cells


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 30_000), min_size=1, max_size=5), st.sampled_from([b"\n", b"\r\n"]))
def test_line_of_a_bad_byte_is_exact(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], end: bytes
) -> None:
    root = tmp_path_factory.getbasetemp()
    (root / "a.txt").write_bytes(end.join(b"x" * length for length in lengths) + b"\xff" + end + b"y" + end)
    assert read_problem(root, "text", "a.txt").line == len(lengths)


@pytest.mark.parametrize("encoding", ["utf-16", "hex", "undefined", "a\0b"])
def test_unsuitable_encoding_is_an_input_error(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.csv").write_bytes(b"abc\n1\n")
    assert "encoding" in read_problem(tmp_path, "csv", "a.csv", encoding=encoding).message
