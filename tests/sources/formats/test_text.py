"""Text files as sources, one row for each."""

from pathlib import Path

import pytest

from tests.support.sources import read_all, read_problem


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
