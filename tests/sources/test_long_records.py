"""A record has a longest length, so that a hostile file cannot fill the memory."""

import gzip
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.sources import read_error, read_fields, write_workbook

MILLION = 1_000_000
LINE = b"x" * 9_999 + b"\n"


def write_compressed(path: Path, pieces: Iterator[bytes]) -> None:
    with gzip.open(path, "wb", compresslevel=1) as file:
        for piece in pieces:
            file.write(piece)


def long_record(before: bytes, piece: bytes, after: bytes = b"") -> Iterator[bytes]:
    """A record of a little more than 100 MB, after its beginning."""
    yield before
    for _ in range(102):
        yield piece * (MILLION // len(piece))
    yield after


@pytest.mark.parametrize(
    ("type", "before", "piece", "line"),
    [
        ("csv", b"id,a\n1,x\n2,", b"x", 3),
        ("csv", b'id,a\n1,x\n2,"', LINE, 3),
        ("csv", b"id,a\n1,x\n2,", b'"' + LINE + b'y",', 3),
        ("jsonl", b'{"a": 1}\n{"a": "', b"x", 2),
        ("json", b'[{"a": 1},\n{"a": "', b"x", 2),
        ("text", b"first\n", LINE, 1),
    ],
)
def test_record_over_100_mb_is_an_error(tmp_path: Path, type: str, before: bytes, piece: bytes, line: int) -> None:
    write_compressed(tmp_path / "long.gz", long_record(before, piece))
    assert read_error(tmp_path, type, "long.gz") == (
        f"long.gz:{line}: the record is longer than 100 MB, the most that is read for one row"
    )


def test_whole_json_object_over_100_mb_is_an_error(tmp_path: Path) -> None:
    write_compressed(tmp_path / "long.gz", long_record(b'[{"a": 1},\n{"a": "', b"x", b'"}]'))
    assert "long.gz:2: the record is longer than 100 MB" in read_error(tmp_path, "json", "long.gz")


def test_many_records_over_100_mb_in_total_are_read(tmp_path: Path) -> None:
    cell = b"x" * MILLION
    write_compressed(tmp_path / "a.csv.gz", (b"a\n" if n == 0 else cell + b"\n" for n in range(102)))
    assert len(read_fields(tmp_path, "csv", "a.csv.gz")) == 101


def test_cell_over_a_million_characters_is_an_error(tmp_path: Path) -> None:
    write_workbook(tmp_path / "t.xlsx", ["a"], ["short"], ["LONG"])
    with zipfile.ZipFile(tmp_path / "t.xlsx") as old, zipfile.ZipFile(tmp_path / "long.xlsx", "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b"LONG", b"x" * (MILLION + 1)))
    assert read_error(tmp_path, "xlsx", "long.xlsx") == "long.xlsx:3: a cell holds more than 1,000,000 characters"
