"""Input files of a source: patterns, compression, standard input, keys, and digests."""

import gzip
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import InputError, Problem
from runner.sources.changed_files import find_changed_files
from runner.sources.input_files import InputFile, Inputs
from runner.sources.read import read_rows
from runner.spec.spec import Source
from tests.support.sources import LONG_CSV, STREAM_SOURCES, input_files, read_all, read_piped, read_problem


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
        ("d", "cannot read: Is a directory: name the files in it, for example `d/*`"),
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
        (b"a\n1\n2,3\n", b"InputError: -:3: the header has 1 field, but this record has 2"),
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


@pytest.mark.parametrize("key", [True, False, 1.0, [], {}, ["x"]])
def test_key_of_another_type_is_rejected_with_its_line(tmp_path: Path, key: object) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": 1}\n' + json.dumps({"id": key}))
    found = read_problem(tmp_path, "jsonl", "a.jsonl", key="id")
    assert found == Problem("a.jsonl", f"the key 'id' must be text or a whole number, not {key!r}", 2)


@pytest.mark.parametrize("key", [None, ""])
def test_an_empty_key_is_rejected_with_its_line(tmp_path: Path, key: str | None) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": 1}\n' + json.dumps({"id": key}))
    found = read_problem(tmp_path, "jsonl", "a.jsonl", key="id")
    assert (found.path, found.line) == ("a.jsonl", 2)
    assert found.message.startswith("the key 'id' is empty: fill in 'id', or remove `key`")


@pytest.mark.parametrize(
    ("key", "words"),
    [("nmae", "did you mean 'name'?"), ("Name", "did you mean 'name'?"), ("q", "expected one of: name, b")],
)
def test_missing_key_column_is_reported_with_the_columns(tmp_path: Path, key: str, words: str) -> None:
    (tmp_path / "a.csv").write_text("name,b\n1,2\n")
    found = read_problem(tmp_path, "csv", "a.csv", key=key)
    assert (found.path, found.line) == ("source.key", 0)
    assert found.message == f"a.csv has no column {key!r}: {words}"


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


def test_file_matched_twice_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "e" / "1.csv").write_text("a\n1\n")
    assert len(list(read_rows(Source("csv", None, {"path": "d/**/**/*.csv"}), Inputs(tmp_path)))) == 1


def test_a_name_with_brackets_can_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "x[1].csv").write_text("a\n1\n")
    assert len(list(read_rows(Source("csv", None, {"path": "x[1].csv"}), Inputs(tmp_path)))) == 1


def test_link_out_of_a_pattern_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("TOP SECRET")
    (tmp_path / "project" / "texts").mkdir(parents=True)
    (tmp_path / "project" / "texts" / "a.txt").write_text("harmless")
    source = Source("text", None, {"path": "texts/**/*.txt"})
    assert [row.fields["text"] for row in read_rows(source, Inputs(tmp_path / "project"))] == ["harmless"]
    (tmp_path / "project" / "texts" / "b.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(InputError, match=r"^texts/b\.txt: is a link to a file outside"):
        list(read_rows(source, Inputs(tmp_path / "project")))
