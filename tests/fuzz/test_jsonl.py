"""Random and damaged JSONL: the right rows, or an error with a line."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from runner.files.signatures import describe_binary
from runner.sources.read import Row
from tests.support.fuzzing import EDITS, JSON, SHORT_TEXT, edited, refuse_constant, rows_before_mistake, tries

pytestmark = pytest.mark.slow

JSONL = (
    b'\xef\xbb\xbf{"id": 1, "text": "caf\xc3\xa9 \\ud83d\\ude00", "n": [1.5, -2e3, null, true]}\n\n'
    b'{"id": "b", "big": 123456789012345678901234567890, "of": {"a": {"b": []}}}\r\n   \n'
    b'{"id": "c", "text": "\xe2\x80\xa8 \\u2028"}\n{}'
)


def is_object(line: bytes) -> bool:
    try:
        value = json.loads(line.decode(), parse_constant=refuse_constant)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict)


def assert_rows_are_the_lines(data: bytes, rows: list[Row], mistake: int | None) -> None:
    """Each line that is not blank is a row, up to the one that is named as a mistake."""
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    wanted = {number: line for number, line in enumerate(lines, 1) if line.strip()}
    last = len(lines) + 1 if mistake in (None, 0) else mistake
    assert [row.line for row in rows] == [number for number in wanted if number < last]
    for row in rows:
        assert repr(json.loads(wanted[row.line].decode())) == repr(row.fields)
    if mistake:
        assert not is_object(wanted[mistake])


@tries(500)
@given(
    st.binary(max_size=40)
    | st.lists(
        st.sampled_from(
            ["{", "}", "[", "]", '"a"', ":", ",", "1", "-", "1.", "1e999", "NaN", "Infinity", "null", "\n", "\r\n",
             " ", '"\\ud800"', '"\\udc00\\ud800"', '"\\', "\t", "\ufeff", "[" * 3000, '{"a":' * 3000, "9" * 5000,
             '{"a":1}', '{"":{}}', '{"a":"\\u0000"}', "\x0b", "\x0c", "\u2028", "true", '{"a": 1e-400}',
             '{"a": 0.1e1}', "{}"]
        ),
        max_size=8,
    ).map(lambda parts: "".join(parts).encode())
)  # fmt: skip
@example(b'{"a":1}\n{"a":' + b"[" * 100_000)
@example(b'{"a": ' + b"9" * 5000 + b"}")
def test_any_bytes_are_json_rows_or_an_error_with_a_line(project: Path, data: bytes) -> None:
    assume(describe_binary("bytes.jsonl", data) is None)  # a file of another format is named as such
    assert_rows_are_the_lines(data, *rows_before_mistake(project, "bytes.jsonl", data))


@tries(1000)
@given(EDITS)
def test_damaged_jsonl_gives_every_line_before_the_error(
    project: Path, edits: list[tuple[str, int, int, bytes]]
) -> None:
    data = edited(JSONL, edits)
    assert_rows_are_the_lines(data, *rows_before_mistake(project, "damaged.jsonl", data))


@tries(400)
@given(
    st.lists(st.dictionaries(SHORT_TEXT, JSON, max_size=4), min_size=1, max_size=5),
    st.booleans(),
    st.sampled_from([b"\n", b"\r\n", b"\n\n", b"\n \t\r\n"]),
    st.booleans(),
)
def test_json_lines_are_read_back(
    project: Path, values: list[dict[str, Any]], ascii: bool, end: bytes, is_marked: bool
) -> None:
    data = end.join(json.dumps(value, ensure_ascii=ascii).encode() for value in values)
    rows, mistake = rows_before_mistake(project, "values.jsonl", b"\xef\xbb\xbf" * is_marked + data)
    assert mistake is None
    assert [repr(row.fields) for row in rows] == [repr(value) for value in values]
