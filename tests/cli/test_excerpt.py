"""A problem is shown with its line, cut, escaped and without secrets."""

import os
from pathlib import Path
from unicodedata import east_asian_width

import pytest

from runner.cli.texts.excerpt import find_column, format_problem
from runner.errors import Problem
from tests.support.files import image, pdf


def show(root: Path, text: str, line: int = 1, column: int = 1, message: str = "wrong") -> list[str]:
    (root / "a.csv").write_text(text, "utf-8")
    return format_problem(Problem("a.csv", message, line, column), [root]).splitlines()[1:]


def test_long_line_is_cut_around_the_column(tmp_path: Path) -> None:
    _, line, mark = show(tmp_path, "x" * 5000 + " here " + "y" * 5000, column=5002)
    assert (len(line), len(mark)) < (120, 120)
    assert line[mark.index("^") :].startswith("here")
    assert line.startswith("1 | …") and line.endswith("…")


def test_line_is_cut_to_the_width_of_a_narrow_terminal(tmp_path: Path) -> None:
    for text in ("x" * 60 + " here " + "y" * 60, "日本" * 30 + " here " + "日本" * 30):
        (tmp_path / "a.csv").write_text(text, "utf-8")
        problem = Problem("a.csv", "wrong", 1, text.index("here") + 1)
        _, _, line, mark = format_problem(problem, [tmp_path], width=40).splitlines()
        cells = sum(2 if east_asian_width(sign) == "W" else 1 for sign in line)
        assert (cells <= 40, "here" in line, mark.endswith("^^^^")) == (True, True, True)


def test_caret_stands_below_its_word_after_wide_characters(tmp_path: Path) -> None:
    _, line, mark = show(tmp_path, "日本,word", column=4)
    assert (line, mark) == ("1 | 日本,word", "  |      ^^^^")


def test_control_characters_are_escaped_in_the_excerpt(tmp_path: Path) -> None:
    _, line, mark = show(tmp_path, "\x1b[31m,word", column=7)
    assert line == "1 | \\u001b[31m,word"
    assert line[mark.index("^") :] == "word"


def test_line_in_another_encoding_is_shown_unless_it_is_binary(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("a;Größe\n".encode("cp1252") + b"\x00\xff\n")
    assert format_problem(Problem("a.csv", "wrong", 1, 3), [tmp_path]).splitlines()[2] == "1 | a;Größe"
    assert format_problem(Problem("a.csv", "wrong", 2, 1), [tmp_path]) == "a.csv:2:1: wrong".replace(
        "a.csv", os.path.relpath(tmp_path / "a.csv")
    )


def test_passwords_are_not_shown_in_the_excerpt(tmp_path: Path) -> None:
    shown = show(tmp_path, "url: postgresql://me:secret@host/db", column=6)
    assert shown == ["  |", "1 | url: postgresql://me@host/db"]


@pytest.mark.parametrize("name", ["a.parquet", "a.xlsx", "a.csv.gz"])
def test_row_of_a_file_without_lines_is_not_shown(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PAR1\0\n\0\1\n")
    assert format_problem(Problem(name, "wrong", 2, 1), [tmp_path]).splitlines()[1:] == []


@pytest.mark.parametrize("data", [pdf(), image(), image(kind="JPEG"), b"SQLite format 3\0\x10\nrows\n"])
def test_line_of_a_file_that_is_no_text_is_not_shown(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)
    assert format_problem(Problem("a", "wrong", 1, 1), [tmp_path]).splitlines()[1:] == []


def test_line_that_does_not_exist_is_not_shown(tmp_path: Path) -> None:
    assert show(tmp_path, "one\n", line=7) == []


def test_column_is_that_of_the_quoted_word() -> None:
    assert find_column("  {{ context }} {{ text }}", "'text' is undefined") == 20
    assert find_column("  abc", "nothing quoted") == 3


def test_column_is_that_of_the_word_in_a_tag_of_a_template() -> None:
    assert find_column("The subject: {{ subject }} or subject", "'subject' is undefined") == 17
    assert find_column("if lang is en {% if lang %}", "'lang' is undefined") == 21
    assert find_column("subject: {{ body }}", "'subject' is undefined") == 1
