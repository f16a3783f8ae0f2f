"""JSON arrays as sources."""

import json
from pathlib import Path

import pytest

from tests.support.sources import read_all, read_error, read_fields


@pytest.mark.parametrize("gap", ["", "\n", " " * 70_000])
def test_json_array_objects_have_their_first_line(tmp_path: Path, gap: str) -> None:
    wanted = [{"n": n, "text": 'é{["\\' * n, "deep": [{"a": None}]} for n in range(60)]
    text = f"{gap}[{gap}" + f",{gap}".join(json.dumps(row, ensure_ascii=False) for row in wanted) + f"{gap}]{gap}"
    (tmp_path / "t.json").write_text(text)
    found = read_all(tmp_path, "json", "t.json")
    assert [row.fields for row in found] == wanted
    assert [row.line for row in found] == [text[: text.index(f'{{"n": {n},')].count("\n") + 1 for n in range(60)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1}', "t.json:1: expected an array of objects, not an object: is this a jsonl file?"),
        ('[{"a": 1}\n{"a": 2}]', "t.json:2: expected ',' between two objects, not '{'"),
        ('[{"a": 1},\n2]', "t.json:2: an element of the array must be an object, not int"),
        ('[{"a": 1},\n{"a": }]', "t.json:2: not valid JSON: Expecting value"),
        ('[{"a": 1},\n\n{"a": 1', "t.json:3: not valid JSON: Expecting ',' delimiter"),
        ('[{"a": NaN}]', "t.json:1: not valid JSON: NaN is not valid JSON: write null, or the number as text"),
        ('[{"a": 1, "a": 2}]', "t.json:1: not valid JSON: the key 'a' occurs twice in one object"),
        (
            '[{"a": 1, "a": 2}' + " " * 200_000 + "]",
            "t.json:1: not valid JSON: the key 'a' occurs twice in one object",
        ),
        ('[{"a": 1}', "t.json:1: expected ',' between two objects, not 'the end of the file'"),
        ('[{"a": 1}]\n[]', "t.json: unexpected '[' after the end of the array: is this a jsonl file?"),
        ("[]", "t.json: the source has no rows"),
        ("", "t.json:1: expected '[' at the beginning of the array, not 'the end of the file'"),
        ('[{"a": "\xe9"}]', "t.json:1: not UTF-8 text"),
        ("[" * 100_000, "t.json:1: not valid JSON: "),
        ('[{"a": 1e999}]', "t.json:1: not valid JSON: 1e999 is too large"),
    ],
)
def test_malformed_json_array_is_reported_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "t.json").write_bytes(text.encode("latin-1"))
    assert read_error(tmp_path, "json", "t.json").startswith(words)


def test_large_json_object_does_not_slow_down_the_rest(tmp_path: Path) -> None:
    large = {"text": "x" * 5_000_000}
    (tmp_path / "t.json").write_text(json.dumps([large, *[{"n": n} for n in range(50_000)]]))
    assert len(read_fields(tmp_path, "json", "t.json")) == 50_001
