"""Compressed files are read, and damage to them is reported."""

import bz2
import gzip
import lzma
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from tests.support.sources import read_error, read_fields

PACKERS = [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress), ("zst", zstd.compress)]
each_format = pytest.mark.parametrize(("suffix", "pack"), PACKERS)


@each_format
def test_compressed_file_is_read_and_damage_is_reported(tmp_path: Path, suffix: str, pack: Any) -> None:
    path = tmp_path / f"t.csv.{suffix}"
    path.write_bytes(pack(b"a\n1\n2\n"))
    assert read_fields(tmp_path, "csv", path.name) == [{"a": "1"}, {"a": "2"}]
    path.write_bytes(path.read_bytes()[:-6])
    assert read_error(tmp_path, "csv", path.name).startswith(f"t.csv.{suffix}: cannot read: ")


@each_format
def test_every_stream_of_a_compressed_file_is_read(tmp_path: Path, suffix: str, pack: Any) -> None:
    path = tmp_path / f"t.csv.{suffix}"
    path.write_bytes(pack(b"a\n1\n") + pack(b"") + pack(b"2\n" * 100_000) + pack(b"3\n"))
    assert [row["a"] for row in read_fields(tmp_path, "csv", path.name)] == ["1", *["2"] * 100_000, "3"]


@each_format
@pytest.mark.parametrize("damage", ["magic", "middle", "cut", "garbage"])
def test_damaged_later_stream_never_means_fewer_rows(tmp_path: Path, suffix: str, pack: Any, damage: str) -> None:
    first, second = pack(b"a\n1\n"), bytearray(pack(b"2\n3\n" * 200))
    if damage == "magic":
        second[0] ^= 0x20
    elif damage == "middle":
        second[len(second) // 2] ^= 0xFF
    rest = {"cut": bytes(second[:-3]), "garbage": bytes(second) + b"garbage"}.get(damage, bytes(second))
    path = tmp_path / f"t.csv.{suffix}"
    path.write_bytes(first + rest)
    assert read_error(tmp_path, "csv", path.name).startswith(f"t.csv.{suffix}: cannot read: ")


def test_padding_after_an_xz_stream_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "t.csv.xz").write_bytes(lzma.compress(b"a\n1\n") + b"\0" * 8 + lzma.compress(b"2\n") + b"\0" * 4)
    assert read_fields(tmp_path, "csv", "t.csv.xz") == [{"a": "1"}, {"a": "2"}]
