"""Limits of cells: what does not fit is named, and the longest part that fits is taken."""

import re

import pytest

from runner.io_types.limits import JsonWithoutNul, Overflow, TextLimit
from runner.sinks.formats.xlsx import CellLimit

NO_NUL = TextLimit("a cell", most=3, refused=re.compile("\0"), refused_name="NUL characters")


@pytest.mark.parametrize(
    ("text", "size"),
    [("x" * 32_768, 32_768), ("😀" * 16_384, 32_768), ("\x07" * 4_682, 32_774), ("_x0007_" * 4_681, 60_853)],
)
def test_cells_are_measured_as_excel_reads_them(text: str, size: int) -> None:
    limit = CellLimit()
    with pytest.raises(Overflow, match=f"at most 32,767 characters, but this text has {size:,}"):
        limit.check(text)
    cut = limit.cut(text)
    limit.check(cut)
    assert text.startswith(cut)
    with pytest.raises(Overflow):
        limit.check(text[: len(cut) + 1])


@pytest.mark.parametrize(
    ("text", "words", "cut"),
    [
        ("abcd", "at most 3 characters, but this text has 4: 'abcd'", "abc"),
        ("a\0b", r"cannot hold NUL characters: 'a\\x00b'", "ab"),
        ("\0abc\0", "NUL", "abc"),
        ("\0abcd", "NUL", "abc"),
    ],
)
def test_refused_characters_are_removed_before_text_is_cut(text: str, words: str, cut: str) -> None:
    with pytest.raises(Overflow, match=words):
        NO_NUL.check(text)
    assert NO_NUL.cut(text) == cut


@pytest.mark.parametrize("value", ["abc", "", 12_345, None, ["abcd"]])
def test_values_that_fit_pass(value: object) -> None:
    NO_NUL.check(value)
    assert NO_NUL.cut(value) == value


def test_nul_is_removed_from_all_texts_of_json() -> None:
    limit, value = JsonWithoutNul(), {"a\0": ["x\0y", 1, None, {"b": "\0"}]}
    with pytest.raises(Overflow, match="a jsonb column cannot hold NUL"):
        limit.check(value)
    assert limit.cut(value) == {"a": ["xy", 1, None, {"b": ""}]}
    limit.check(limit.cut(value))


def test_names_that_nul_tells_apart_are_never_merged() -> None:
    with pytest.raises(Overflow, match=r"two names of .* are the same"):
        JsonWithoutNul().cut({"a\0": 1, "a": 2})
