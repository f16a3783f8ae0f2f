"""Files behind URLs: object stores and web servers."""

import bz2
import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runner.sources.changed_files import digest_files, find_changed_files
from runner.sources.input_files import InputFile, Inputs
from tests.support.servers import web
from tests.support.sources import read_all, read_error, read_fields, write_workbook


@pytest.fixture
def bucket() -> Iterator[str]:
    """A folder of an object store that lives in memory."""
    fsspec.filesystem("memory").pipe("/bucket/one.csv", b"a\n1\n")
    fsspec.filesystem("memory").pipe("/bucket/two.csv", b"a\n2\n")
    yield "memory:///bucket"
    fsspec.filesystem("memory").rm("/bucket", recursive=True)


def test_glob_of_urls_is_read_in_order_with_versions(tmp_path: Path, bucket: str) -> None:
    inputs = Inputs(tmp_path)
    found = read_all(tmp_path, "csv", f"{bucket}/*.csv", inputs=inputs)
    assert [(row.path, row.fields) for row in found] == [
        (f"{bucket}/one.csv", {"a": "1"}), (f"{bucket}/two.csv", {"a": "2"})
    ]  # fmt: skip
    assert all(file.version and file.sha256 for file in inputs.files)
    before = digest_files(tmp_path, f"{bucket}/*.csv")
    assert (find_changed_files(tmp_path, f"{bucket}/*.csv", inputs.files), len(before)) == ([], 64)
    fsspec.filesystem("memory").pipe("/bucket/two.csv", b"a\n3\n")
    assert find_changed_files(tmp_path, f"{bucket}/*.csv", inputs.files) == [f"{bucket}/two.csv"]
    assert digest_files(tmp_path, f"{bucket}/*.csv") != before


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("memory:///absent.csv", "memory:///absent.csv: cannot read: no such file"),
        ("memory:///absent/*.csv", "memory:///absent/*.csv: no file matches"),
        ("nosuch://x/y.csv", "nosuch://x/y.csv: cannot read: ValueError: Protocol not known: nosuch"),
        ("http://127.0.0.1:9/x.csv", "http://127.0.0.1:9/x.csv: cannot read: "),
        ("s3://bucket/x.csv", "s3://bucket/x.csv: cannot read: Install s3fs to access S3"),
        ("memory:///x::file:///etc/passwd", "memory:///x::file:///etc/passwd: cannot read: no such file"),
        ("MEMORY:///absent.csv", "MEMORY:///absent.csv: cannot read: no such file"),
    ],
)
def test_unreadable_url_is_reported(tmp_path: Path, url: str, words: str) -> None:
    assert read_error(tmp_path, "csv", url).startswith(words)


def test_what_a_proof_has_left_is_no_input(tmp_path: Path, bucket: str) -> None:
    fsspec.filesystem("memory").pipe("/bucket/.two.csv.runner-check", b"")
    assert [row["a"] for row in read_fields(tmp_path, "csv", f"{bucket}/*")] == ["1", "2"]


def test_reason_of_a_missing_driver_is_one_line(tmp_path: Path) -> None:
    # Without Java, its driver names a hundred places where it looked.
    assert "\n" not in read_error(tmp_path, "csv", "hdfs://nowhere/x.csv")


@pytest.mark.parametrize("type", ["csv", "text"])
def test_object_store_folder_is_not_an_empty_file(tmp_path: Path, bucket: str, type: str) -> None:
    assert read_error(tmp_path, type, bucket).startswith(f"{bucket}: cannot read: is a folder: name files")


@pytest.mark.parametrize("name", ["what?.csv.gz", "a[1].csv.gz", "a::b.csv.gz"])
def test_object_names_may_hold_any_character(tmp_path: Path, bucket: str, name: str) -> None:
    fsspec.filesystem("memory").pipe(f"/bucket/{name}", gzip.compress(b"a\n7\n"))
    assert read_fields(tmp_path, "csv", f"{bucket}/{name}") == [{"a": "7"}]


def test_files_of_every_format_are_read_from_a_web_server(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": ["1", "2"]}), tmp_path / "t.parquet")
    write_workbook(tmp_path / "t.xlsx", ["a"], ["1"], ["2"])
    (tmp_path / "t.json").write_text('[{"a": "1"}, {"a": "2"}]')
    (tmp_path / "t.csv.bz2").write_bytes(bz2.compress(b"a\n1\n2\n"))
    with web(tmp_path) as url:
        for name in ("t.parquet", "t.xlsx", "t.json", "t.csv.bz2"):
            inputs = Inputs(tmp_path)
            found = read_all(tmp_path, name.split(".")[1], f"{url}/{name}", inputs=inputs)
            assert [row.fields for row in found] == [{"a": "1"}, {"a": "2"}], name
            assert find_changed_files(tmp_path, f"{url}/{name}", inputs.files) == []
        [row] = read_fields(tmp_path, "files", f"{url}/t.parquet")
        assert (row["name"], row["size"]) == ("t.parquet", (tmp_path / "t.parquet").stat().st_size)
        os.utime(tmp_path / "t.json", (1, 1))
        assert find_changed_files(tmp_path, f"{url}/t.json", [InputFile(f"{url}/t.json", 24, 0, "0", "x")]) != []
