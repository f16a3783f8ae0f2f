"""JSONL files as sources."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import Problem
from tests.support.fuzzing import CELL_TEXTS, ROW_JSON
from tests.support.sources import read_all, read_problem


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
        (b'{"a": NaN}', "NaN is not valid JSON: write null, or the number as text"),
        (b'{"a": [1, -Infinity]}', "-Infinity is not valid JSON"),
        (b'{"a": 1, "a": 2}', "the key 'a' occurs twice in one object"),
        (b'{"a" : 1, "a" : 2}', "the key 'a' occurs twice in one object"),
        (b'{"x": [{"b": {"a": 1, "\\u0061": 2}}]}', "the key 'a' occurs twice in one object"),
        (b'{"a": 1, "a": 2, "t": "\\":"}', "the key 'a' occurs twice in one object"),
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


@settings(max_examples=100, deadline=None)
@given(st.lists(st.dictionaries(CELL_TEXTS, ROW_JSON, max_size=3), min_size=1, max_size=4), st.booleans())
def test_jsonl_round_trip(
    tmp_path_factory: pytest.TempPathFactory, values: list[dict[str, Any]], ascii: bool
) -> None:
    root = tmp_path_factory.getbasetemp()
    text = "".join(json.dumps(value, ensure_ascii=ascii) + "\n" for value in values)
    (root / "a.jsonl").write_text(text, "utf-8")
    assert json.dumps([row.fields for row in read_all(root, "jsonl", "a.jsonl")]) == json.dumps(values)


def test_json_nested_too_deep_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n")
    assert read_problem(tmp_path, "jsonl", "a.jsonl").line == 1


@pytest.mark.parametrize(
    "line", ['{"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]}', '{"a" : "\\":", "b": "NaN"}', '{"a":":"}']
)
def test_jsonl_line_that_only_looks_like_repeating_a_key_is_read(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.jsonl").write_text(line + "\n")
    assert read_all(tmp_path, "jsonl", "a.jsonl")[0].fields == json.loads(line)
