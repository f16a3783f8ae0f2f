"""Compressed files are read, and damage to them is reported."""

import bz2
import lzma
from pathlib import Path
from typing import Any

import pytest

from tests.support.sources import read_error, read_fields


@pytest.mark.parametrize(("suffix", "pack"), [("bz2", bz2.compress), ("xz", lzma.compress)])
def test_compressed_file_is_read_and_damage_is_reported(tmp_path: Path, suffix: str, pack: Any) -> None:
    path = tmp_path / f"t.csv.{suffix}"
    path.write_bytes(pack(b"a\n1\n2\n"))
    assert read_fields(tmp_path, "csv", path.name) == [{"a": "1"}, {"a": "2"}]
    path.write_bytes(path.read_bytes()[:-6])
    assert read_error(tmp_path, "csv", path.name).startswith(f"t.csv.{suffix}: cannot read: ")
