"""The settings of CSV sources: delimiters, headers, quotes, comments, encodings, and columns that nobody takes."""

from pathlib import Path
from typing import Any

import pytest

from runner.sources.input_files import Inputs
from runner.sources.read import read_rows
from runner.spec.spec import Source
from tests.support.sources import read_error, read_fields

TWO = [{"a": "1", "b": "2"}]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("a;b\n1;2\n", {"delimiter": "auto"}),
        ("a\tb\n1\t2\n", {"delimiter": "auto"}),
        ("a|b\n1|2\n", {"delimiter": "auto"}),
        ("a,b\n1,2\n", {"delimiter": "auto"}),
        ('"a";b\n1;2\n', {"delimiter": "auto"}),
        ("sep=;\na;b\n1;2\n", {"delimiter": ";"}),
        ("sep=;\r\na;b\r\n1;2\r\n", {"delimiter": "auto"}),
        ("SEP=,\na,b\n1,2\n", {}),
        ("exported\nby,a,tool\na,b\n1,2\n", {"skip_rows": 2}),
        ("# who\na,b\n# when\n1,2\n#", {"comment": "#"}),
        ("'a',b\n'1',2\n", {"quote": "'"}),
        ("1,2\n", {"header": ["a", "b"]}),
    ],
)
def test_settings_describe_how_a_csv_is_written(tmp_path: Path, text: str, options: dict[str, Any]) -> None:
    (tmp_path / "a.csv").write_bytes(text.encode())
    assert read_fields(tmp_path, "csv", "a.csv", **options) == TWO


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_auto_takes_the_encoding_of_the_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    mark = "\ufeff" if encoding.startswith("utf-16-") else ""
    (tmp_path / "a.csv").write_bytes(f"{mark}ä,b\n1,€\n".encode(encoding))
    assert read_fields(tmp_path, "csv", "a.csv", encoding="auto") == [{"ä": "1", "b": "€"}]


def test_columns_without_a_header_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    assert read_fields(tmp_path, "csv", "a.csv", header=False) == [{"c1": "x", "c2": "y"}, {"c1": "1", "c2": "2"}]


def test_a_comment_sign_inside_a_quoted_field_is_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('a,b\n1,"x\n# y"\n')
    assert read_fields(tmp_path, "csv", "a.csv", comment="#") == [{"a": "1", "b": "x\n# y"}]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("sep=;\na,b\n", {"delimiter": ","}, "a.csv:1: the first line says that the delimiter is ';'"),
        ("1,2\n3\n", {"header": ["a", "b"]}, "a.csv:2: the header has 2 fields, but this record has 1"),
        ("1,2\n", {"header": ["a", "a"]}, "a.csv: two columns are named 'a' in the header"),
        ("x\ny\na,\n1,2\n", {"skip_rows": 2}, "a.csv:3: column 2 has no name in the header"),
        ("x\n", {"skip_rows": 2}, "a.csv: the file is empty: expected a header line"),
    ],
)
def test_wrong_settings_are_reported_with_their_line(
    tmp_path: Path, text: str, options: dict[str, Any], message: str
) -> None:
    (tmp_path / "a.csv").write_text(text)
    assert read_error(tmp_path, "csv", "a.csv", **options).startswith(message)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"\x1f\x8b\x08\x00", "add .gz to its name"),
        (b"BZh91AY", "add .bz2 to its name"),
        (b"\xfd7zXZ\x00", "add .xz to its name"),
        (b"\x28\xb5\x2f\xfd", "add .zst to its name"),
        (b"PK\x03\x04......[Content_Types].xml", "is a workbook: use `type: xlsx`"),
        (b"PK\x03\x04......readme.txt", "is a zip archive: unpack it first"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an old Office document"),
        (b"PAR1\x15\x04", "use `type: parquet`"),
        (b"SQLite format 3\x00", "use `type: sql`"),
        (b"%PDF-1.7\n", "is a PDF"),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "json", "jsonl", "text"])
def test_file_of_another_format_is_named(tmp_path: Path, kind: str, head: bytes, words: str) -> None:
    (tmp_path / "a.dat").write_bytes(head + b"\n1,2\n")
    assert words in read_error(tmp_path, kind, "a.dat")


@pytest.mark.parametrize("header", ["id,,text", "id,n,text,n", "id,,text,"])
def test_header_of_columns_that_nobody_takes_does_no_harm(tmp_path: Path, header: str) -> None:
    (tmp_path / "a.csv").write_text(f"{header}\n{','.join('1' for _ in header.split(','))}\n")
    source = Source("csv", "id", {"path": "a.csv"}, columns=("id", "text"))
    assert [row.fields for row in read_rows(source, Inputs(tmp_path))] == [{"id": "1", "text": "1"}]
