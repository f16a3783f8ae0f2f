"""Rows in: csv, jsonl and text files, whole, damaged, compressed, many or piped, each mistake with its line."""

import csv
import gzip
import hashlib
import inspect
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import InputError, Problem
from runner.sources.changed_files import find_changed_files
from runner.sources.input_files import InputFile, Inputs
from runner.sources.read import SOURCES, Row, read_rows
from runner.spec.schema_errors import schema_text
from runner.spec.spec import Source

ROOT = Path(__file__).parents[1]
SOURCE_SCHEMA = json.loads(schema_text())["properties"]["source"]
CHOICE = {"columns", "types", "where", "sample", "seed", "limit"}
STREAM_SOURCES = [type for type in SOURCES if type not in ("files", "parquet", "run", "sql", "xlsx")]
"""The sources that read a file from its beginning to its end."""
OFFERED = {
    branch["if"]["properties"]["type"]["const"]: branch["then"]["properties"].keys() - {"type", "key", *CHOICE}
    for branch in SOURCE_SCHEMA["allOf"]
}
LONG_CSV = b"a\n" + (b"1" * 999 + b"\n") * 900
CELL_TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
TABLES = st.lists(st.tuples(CELL_TEXTS, CELL_TEXTS), min_size=1, max_size=8)
ROW_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | CELL_TEXTS,
    lambda v: st.lists(v, max_size=3) | st.dictionaries(CELL_TEXTS, v, max_size=3),
    max_leaves=6,
)


def read_all(
    root: Path, type: str, path: str, *, key: str | None = None, limit: int | None = None, **o: Any
) -> list[Row]:
    return list(read_rows(Source(type, key, {"path": path, **o}), Inputs(root), limit=limit))


def read_problem(root: Path, type: str, path: str, *, key: str | None = None, **o: Any) -> Problem:
    try:
        read_all(root, type, path, key=key, **o)
    except InputError as error:
        [found] = error.problems
        return found
    pytest.fail("every row was read")


def input_files(root: Path, type: str, path: str, *, limit: int | None = None) -> list[InputFile]:
    inputs = Inputs(root)
    for _ in read_rows(Source(type, None, {"path": path}), inputs, limit=limit):
        pass
    return inputs.files


def read_piped(data: bytes, type: str) -> subprocess.CompletedProcess[bytes]:
    script = (
        "import json, pathlib, sys\n"
        "from runner.sources import Inputs, read\n"
        "from runner.spec import Source\n"
        "inputs = Inputs(pathlib.Path())\n"
        "rows = list(read(Source(sys.argv[1], None, {'path': '-'}), inputs))\n"
        "print(json.dumps([rows, [file.sha256 for file in inputs.files]]))\n"
    )
    command = [sys.executable, "-c", script, type]
    return subprocess.run(command, input=data, capture_output=True, cwd=ROOT, check=False)


def csv_bytes(cells: list[tuple[str, ...]], **dialect: Any) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, **dialect).writerows(cells)
    return text.getvalue().encode()


@pytest.mark.parametrize("type", SOURCES)
def test_source_parameters_match_the_schema(type: str) -> None:
    inputs, *settings = inspect.signature(SOURCES[type]).parameters.values()
    # Where a run source reads is known from the spec that it names.
    given = {"path"} if type == "run" else set()
    assert {p.name for p in settings} - given == OFFERED[type]
    assert {p.kind for p in settings} == {inspect.Parameter.KEYWORD_ONLY}
    assert inputs.name == "inputs"


def test_schema_lists_every_source() -> None:
    assert list(SOURCES) == SOURCE_SCHEMA["properties"]["type"]["enum"]
    assert set(SOURCES) == set(OFFERED)


@pytest.mark.parametrize("branch", SOURCE_SCHEMA["allOf"], ids=lambda b: b["if"]["properties"]["type"]["const"])
def test_source_defaults_match_the_schema(branch: dict[str, Any]) -> None:
    parameters = inspect.signature(SOURCES[branch["if"]["properties"]["type"]["const"]]).parameters
    defaults = {p.name: p.default for p in parameters.values() if p.default not in (inspect.Parameter.empty, None)}
    offered = {name: schema for name, schema in branch["then"]["properties"].items() if schema is not True}
    assert defaults == {
        name: schema["default"] for name, schema in offered.items() if "default" in schema and name not in CHOICE
    }


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
        ("a,b\n1,2\n".encode("utf-16"), 1, "bytes ff are not valid utf-8"),
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


def test_jsonl_row_keeps_values_and_counts_blank_lines(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes('\ufeff{"id": 1}\r\n\n \t\r\n{"id": "x\u2028y", "n": [1.5, null]}'.encode())
    assert read_all(tmp_path, "jsonl", "a.jsonl", key="id") == [
        (1, 1, {"id": 1}, "a.jsonl", 1),
        (2, "x\u2028y", {"id": "x\u2028y", "n": [1.5, None]}, "a.jsonl", 4),
    ]


@pytest.mark.parametrize(
    "number", ["123456789012345678901234567890", "-9223372036854775809", "18446744073709551616"]
)
def test_a_jsonl_integer_of_more_than_64_bits_stays_exact(tmp_path: Path, number: str) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"n": {number}}}\n')
    assert read_all(tmp_path, "jsonl", "a.jsonl")[0].fields == {"n": int(number)}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"[1]", "Expected `object`, got `array`"),
        (b"null", "Expected `object`, got `null`"),
        (b'"x"', "Expected `object`, got `str`"),
        (b'{"a": 1', "truncated"),
        (b'{"a": 1},', "trailing characters"),
        (b'{"a": 1}{"a": 2}', "trailing characters"),
        (b"{'a': 1}", "malformed"),
        (b'{"a": NaN}', "not a JSON object"),
        (b'{"a": 1e400}', "Number out of range"),
        (b'{"a": 01}', "not a JSON object"),
        (b'{"a": "x\ty"}', "not a JSON object"),
        (b'{"a": "caf\xe9"}', "not UTF-8 text"),
        (b'{"\xff": 1}', "not UTF-8 text"),
        (b'\xef\xbb\xbf{"a": 1}', "not a JSON object"),
        (b'{"a": "\\ud800"}', "surrogate pair"),
        (b'{"a": "\\ud800x"}', "surrogate pair"),
        (b'{"a": "\\udc00"}', "surrogate pair"),
        (b'{"\\udc00": 1}', "surrogate pair"),
        (b'{"a": "\\ud800\\u0041"}', "surrogate pair"),
    ],
)
def test_malformed_jsonl_line_is_reported(tmp_path: Path, line: bytes, words: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"a": 0}\n\n' + line + b"\n")
    found = read_problem(tmp_path, "jsonl", "a.jsonl")
    assert (found.path, found.line) == ("a.jsonl", 3)
    assert words in found.message


@pytest.mark.parametrize("data", [b"", b"\n", b" \n\t\n"])
def test_jsonl_file_without_rows_is_rejected(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(data)
    assert read_problem(tmp_path, "jsonl", "a.jsonl") == Problem("a.jsonl", "the source has no rows")


def test_a_text_file_is_one_row_with_its_path_and_name(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.txt").write_bytes("\ufeffé\r\nb\rc\n".encode())
    (tmp_path / "d" / "b.txt").write_bytes(b"")
    assert read_all(tmp_path, "text", "d/*.txt", key="name") == [
        (1, "a.txt", {"path": "d/a.txt", "name": "a.txt", "text": "é\r\nb\rc\n"}, "d/a.txt", 1),
        (2, "b.txt", {"path": "d/b.txt", "name": "b.txt", "text": ""}, "d/b.txt", 1),
    ]


@pytest.mark.parametrize(
    ("data", "words"), [(b"a\nb\xff\n", "bytes ff are not valid utf-8 text"), (b"a\nb\0", "a NUL character")]
)
def test_malformed_text_file_is_reported_with_its_line(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    found = read_problem(tmp_path, "text", "*.txt")
    assert (found.path, found.line) == ("a.txt", 2)
    assert words in found.message


@pytest.mark.parametrize("pattern", ["**/*.csv", "d/**", "d/[12].csv", "d/?.csv", "{root}/d/*.csv"])
def test_a_glob_reads_every_match_in_name_order(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "d" / "folder.csv").mkdir(parents=True)
    for name in ("2", "1"):
        (tmp_path / "d" / f"{name}.csv").write_text(f"a\n{name}\n")
    found = read_all(tmp_path, "csv", pattern.format(root=tmp_path))
    assert [(row.number, row.fields["a"], Path(row.path).name) for row in found] == [
        (1, "1", "1.csv"),
        (2, "2", "2.csv"),
    ]


def test_a_path_may_be_absolute(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    assert read_all(tmp_path / "elsewhere", "csv", str(tmp_path / "a.csv"))[0].path == str(tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("nope.csv", "cannot read: No such file"),
        ("d", "cannot read: Is a directory"),
        ("d/*.csv", "no file matches in "),
    ],
)
def test_source_without_a_file_is_reported(tmp_path: Path, path: str, words: str) -> None:
    (tmp_path / "d" / "e.csv").mkdir(parents=True)
    found = read_problem(tmp_path, "csv", path)
    assert found.path == path
    assert words in found.message


@pytest.mark.parametrize("path", ["x" * 300, "*" + "x" * 300])
def test_impossible_path_is_reported(tmp_path: Path, path: str) -> None:
    found = read_problem(tmp_path, "csv", path)
    assert found.path == path
    assert found.message == "cannot read: File name too long"


def test_file_name_that_is_not_text_is_rejected(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff.csv")).write_text("a\n1\n")
    assert read_problem(tmp_path, "csv", "*.csv") == Problem(
        "\ufffd.csv", "the file name is not valid UTF-8: rename the file"
    )


def test_second_file_with_a_different_header_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a,b\n1,2\n")
    (tmp_path / "2.csv").write_text("b,a\n1,2\n")
    found = read_problem(tmp_path, "csv", "*.csv")
    assert found == Problem("2.csv", "the header is b, a, but earlier files have a, b", 1)


def test_one_of_several_files_may_have_no_rows(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a,b\n")
    (tmp_path / "2.csv").write_text("a,b\n1,2\n")
    assert [(row.number, row.path, row.line) for row in read_all(tmp_path, "csv", "*.csv")] == [(1, "2.csv", 2)]


@pytest.mark.parametrize(
    ("type", "data", "fields"),
    [
        ("csv", b"a\n1\n", {"a": "1"}),
        ("jsonl", b'{"a": 1}\n', {"a": 1}),
        ("text", b"hi", {"path": "x.gz", "name": "x.gz", "text": "hi"}),
    ],
)
def test_gz_digest_is_of_the_compressed_bytes(
    tmp_path: Path, type: str, data: bytes, fields: dict[str, Any]
) -> None:
    packed = gzip.compress(data)
    (tmp_path / "x.gz").write_bytes(packed)
    assert read_all(tmp_path, type, "x.gz")[0].fields == fields
    [file] = input_files(tmp_path, type, "x.gz")
    assert (file.bytes, file.sha256) == (len(packed), hashlib.sha256(packed).hexdigest())


def test_a_gz_file_may_have_several_members(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"a\n1\n") + gzip.compress(b"2\n"))
    assert [row.fields["a"] for row in read_all(tmp_path, "csv", "a.csv.gz")] == ["1", "2"]


@pytest.mark.parametrize("type", STREAM_SOURCES)
@pytest.mark.parametrize("damage", ["truncated", "no trailer", "checksum", "not gzip", "trailing"])
def test_damaged_gz_file_is_reported(tmp_path: Path, damage: str, type: str) -> None:
    packed = gzip.compress(b'{"a": 1}\n')
    data = {"truncated": packed[:15], "no trailer": packed[:-8], "not gzip": b"a\n1\n", "trailing": packed + b"x"}
    broken = packed[:-6] + bytes([packed[-6] ^ 1]) + packed[-5:]
    (tmp_path / "a.gz").write_bytes(data.get(damage, broken))
    found = read_problem(tmp_path, type, "a.gz")
    assert found.path == "a.gz"
    assert found.message.startswith("cannot read: ")


@pytest.mark.parametrize(
    ("type", "data", "expected"),
    [
        ("csv", b'a\n1\n"x\ny"\n', [[1, 1, {"a": "1"}, "-", 2], [2, 2, {"a": "x\ny"}, "-", 4]]),
        ("jsonl", b'{"a": 1}\n\n{"a": 2}', [[1, 1, {"a": 1}, "-", 1], [2, 2, {"a": 2}, "-", 3]]),
        ("text", b"hi\n", [[1, 1, {"path": "-", "name": "-", "text": "hi\n"}, "-", 1]]),
    ],
)
def test_standard_input_is_read_and_its_digest_kept(type: str, data: bytes, expected: list[Any]) -> None:
    done = read_piped(data, type)
    assert done.stderr == b""
    assert json.loads(done.stdout) == [expected, [hashlib.sha256(data).hexdigest()]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a\n1\n2,3\n", b"InputError: -:3: the header has 1 fields, but this record has 2"),
        (b"a\n\xff\n", b"InputError: -:2: bytes ff"),
        (b"", b"-: the file is empty"),
    ],
)
def test_malformed_standard_input_is_reported_with_its_line(data: bytes, message: bytes) -> None:
    done = read_piped(data, "csv")
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]


def test_row_number_over_all_files_is_the_default_key(tmp_path: Path) -> None:
    for name in ("1.jsonl", "2.jsonl"):
        (tmp_path / name).write_text('{"a": 1}\n{"a": 2}\n')
    assert [(row.key, row.path, row.line) for row in read_all(tmp_path, "jsonl", "*.jsonl")] == [
        (1, "1.jsonl", 1),
        (2, "1.jsonl", 2),
        (3, "2.jsonl", 1),
        (4, "2.jsonl", 2),
    ]


@pytest.mark.parametrize("key", [0, -1, 7, 10**30, "x", " ", "é", "1"])
def test_a_key_is_text_or_a_whole_number(tmp_path: Path, key: str | int) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"id": key}))
    [row] = read_all(tmp_path, "jsonl", "a.jsonl", key="id")
    assert (row.key, type(row.key)) == (key, type(key))


@pytest.mark.parametrize("key", [None, True, False, 1.0, "", [], {}, ["x"]])
def test_key_of_another_type_is_rejected_with_its_line(tmp_path: Path, key: object) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": 1}\n' + json.dumps({"id": key}))
    found = read_problem(tmp_path, "jsonl", "a.jsonl", key="id")
    assert found == Problem("a.jsonl", f"the key 'id' must be text or a whole number, not {key!r}", 2)


@pytest.mark.parametrize(
    ("key", "words"),
    [("nmae", "did you mean 'name'?"), ("Name", "did you mean 'name'?"), ("q", "expected one of: name, b")],
)
def test_missing_key_column_is_reported_with_the_columns(tmp_path: Path, key: str, words: str) -> None:
    (tmp_path / "a.csv").write_text("name,b\n1,2\n")
    found = read_problem(tmp_path, "csv", "a.csv", key=key)
    assert (found.path, found.line) == ("a.csv", 2)
    assert found.message == f"no key column {key!r}: {words}"


@pytest.mark.parametrize(("limit", "count"), [(1, 1), (2, 2), (3, 3), (4, 3), (None, 3)])
def test_a_limit_takes_the_first_rows(tmp_path: Path, limit: int | None, count: int) -> None:
    (tmp_path / "1.csv").write_text("a\n1\n2\n")
    (tmp_path / "2.csv").write_text("a\n3\n")
    assert [row.fields["a"] for row in read_all(tmp_path, "csv", "*.csv", limit=limit)] == ["1", "2", "3"][:count]


def test_rows_after_the_limit_are_not_checked(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n2,3\n")
    assert len(read_all(tmp_path, "csv", "a.csv", limit=1)) == 1


def test_input_file_is_recorded_with_its_digest(tmp_path: Path) -> None:
    data = LONG_CSV
    (tmp_path / "a.csv").write_bytes(data)
    stat = (tmp_path / "a.csv").stat()
    expected = InputFile("a.csv", len(data), stat.st_mtime_ns, hashlib.sha256(data).hexdigest())
    assert input_files(tmp_path, "csv", "a.csv") == [expected]


def test_partly_read_file_is_recorded_without_a_digest(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n2\n")
    [file] = input_files(tmp_path, "csv", "a.csv", limit=1)
    assert (file.path, file.bytes, file.sha256) == ("a.csv", 6, "")


@pytest.mark.parametrize("edit", [b"a\n" + b"1\n" * 9, b"", LONG_CSV.replace(b"1", b"2")])
def test_file_changed_during_reading_is_rejected(tmp_path: Path, edit: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(LONG_CSV)
    found = read_rows(Source("csv", None, {"path": "a.csv"}), Inputs(tmp_path))
    next(found)
    (tmp_path / "a.csv").write_bytes(edit)
    os.utime(tmp_path / "a.csv", ns=(1, 1))
    with pytest.raises(InputError, match=r"^a\.csv: changed while it was read"):
        list(found)


def test_file_replaced_during_reading_is_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(LONG_CSV)
    (tmp_path / "new").write_text("a\n2\n")
    inputs = Inputs(tmp_path)
    found = read_rows(Source("csv", None, {"path": "a.csv"}), inputs)
    next(found)
    (tmp_path / "new").replace(tmp_path / "a.csv")
    assert sum(1 for _ in found) == 899
    assert find_changed_files(tmp_path, "a.csv", inputs.files) == ["a.csv"]


def test_untouched_files_have_not_changed(tmp_path: Path) -> None:
    for name in ("1.csv", "2.csv"):
        (tmp_path / name).write_text("a\n1\n")
    assert find_changed_files(tmp_path, "*.csv", input_files(tmp_path, "csv", "*.csv")) == []


def test_touched_file_has_not_changed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    recorded = input_files(tmp_path, "csv", "a.csv")
    os.utime(tmp_path / "a.csv", ns=(1, 1))
    assert find_changed_files(tmp_path, "a.csv", recorded) == []


def test_edited_new_and_missing_files_are_listed_by_name(tmp_path: Path) -> None:
    for name in ("gone", "edited", "longer", "same"):
        (tmp_path / f"{name}.csv").write_text("a\n1\n")
    recorded = input_files(tmp_path, "csv", "*.csv")
    (tmp_path / "gone.csv").unlink()
    (tmp_path / "edited.csv").write_text("a\n2\n")
    os.utime(tmp_path / "edited.csv", ns=(1, 1))
    (tmp_path / "longer.csv").write_text("a\n1\n2\n")
    (tmp_path / "added.csv").write_text("a\n1\n")
    assert find_changed_files(tmp_path, "*.csv", recorded) == ["added.csv", "edited.csv", "gone.csv", "longer.csv"]


def test_files_have_changed_when_all_are_missing(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    recorded = input_files(tmp_path, "csv", "*.csv")
    (tmp_path / "a.csv").unlink()
    assert find_changed_files(tmp_path, "*.csv", recorded) == ["a.csv"]
    assert find_changed_files(tmp_path, "a.csv", recorded) == ["a.csv"]


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


@settings(max_examples=100, deadline=None)
@given(st.lists(st.dictionaries(CELL_TEXTS, ROW_JSON, max_size=3), min_size=1, max_size=4), st.booleans())
def test_jsonl_round_trip(
    tmp_path_factory: pytest.TempPathFactory, values: list[dict[str, Any]], ascii: bool
) -> None:
    root = tmp_path_factory.getbasetemp()
    text = "".join(json.dumps(value, ensure_ascii=ascii) + "\n" for value in values)
    (root / "a.jsonl").write_text(text, "utf-8")
    assert json.dumps([row.fields for row in read_all(root, "jsonl", "a.jsonl")]) == json.dumps(values)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=40), st.sampled_from(sorted(STREAM_SOURCES)), st.sampled_from(["a", "a.gz"]))
def test_any_bytes_are_rows_or_one_problem_with_the_file(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, type: str, name: str
) -> None:
    root = tmp_path_factory.getbasetemp()
    (root / name).write_bytes(data)
    try:
        assert read_all(root, type, name)
    except InputError as error:
        assert [p.path for p in error.problems] == [name]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 30_000), min_size=1, max_size=5), st.sampled_from([b"\n", b"\r\n"]))
def test_line_of_a_bad_byte_is_exact(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], end: bytes
) -> None:
    root = tmp_path_factory.getbasetemp()
    (root / "a.txt").write_bytes(end.join(b"x" * length for length in lengths) + b"\xff" + end + b"y" + end)
    assert read_problem(root, "text", "a.txt").line == len(lengths)


def test_files_after_the_limit_are_not_new(tmp_path: Path) -> None:
    for name in ("1.csv", "2.csv"):
        (tmp_path / name).write_text("a\n1\n")
    inputs = Inputs(tmp_path)
    assert len(list(read_rows(Source("csv", None, {"path": "*.csv"}), inputs, limit=1))) == 1
    assert find_changed_files(tmp_path, "*.csv", inputs.files, is_limited=True) == []


def test_file_matched_twice_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "e" / "1.csv").write_text("a\n1\n")
    assert len(list(read_rows(Source("csv", None, {"path": "d/**/**/*.csv"}), Inputs(tmp_path)))) == 1


def test_a_name_with_brackets_can_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "x[1].csv").write_text("a\n1\n")
    assert len(list(read_rows(Source("csv", None, {"path": "x[1].csv"}), Inputs(tmp_path)))) == 1


@pytest.mark.parametrize("encoding", ["utf-16", "hex", "undefined", "a\0b"])
def test_unsuitable_encoding_is_an_input_error(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.csv").write_bytes(b"abc\n1\n")
    assert "encoding" in read_problem(tmp_path, "csv", "a.csv", encoding=encoding).message


def test_json_nested_too_deep_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n")
    assert read_problem(tmp_path, "jsonl", "a.jsonl").line == 1


def test_link_out_of_a_pattern_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("TOP SECRET")
    (tmp_path / "project" / "texts").mkdir(parents=True)
    (tmp_path / "project" / "texts" / "a.txt").write_text("harmless")
    source = Source("text", None, {"path": "texts/**/*.txt"})
    assert [row.fields["text"] for row in read_rows(source, Inputs(tmp_path / "project"))] == ["harmless"]
    (tmp_path / "project" / "texts" / "b.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(InputError, match=r"^texts/b\.txt: is a link to a file outside"):
        list(read_rows(source, Inputs(tmp_path / "project")))
