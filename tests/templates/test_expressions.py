"""Expressions: missing values, invalid text, and plain paths."""

from typing import Any

import pytest

from runner.templates.expressions import ExpressionError, compile_expression

OUTCOME_RECORD = {
    "key": "k1",
    "row": {"a": 1},
    "outcome": "succeeded",
    "output": {"total": 2, "lines": [{"x": 1}, {"x": 2}], "due date": "soon", "items": [7]},
    "error": None,
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("key", "k1"),
        ("output.total", 2),
        ("output.lines[1].x", 2),
        ("output.lines[-1].x", 2),
        ("output['due date']", "soon"),
        ("output.items", [7]),
        ("output.lines|map(attribute='x')|sum", 3),
        ("output.total * 2", 4),
        ("[key, row.a]", ["k1", 1]),
        ("output.total if outcome == 'succeeded' else 0", 2),
        ("error.type or 'none'", "none"),
        ("output.keys", None),
        ("output.no.such[3].thing", None),
        ("output.no.such|default('d')", "d"),
        ("output.total.x", None),
        ("usage.input_tokens", None),
        ("key.__class__", None),
        ("none", None),
    ],
)
def test_expression_evaluates_missing_values_to_none(text: str, expected: Any) -> None:
    assert compile_expression(text)(OUTCOME_RECORD) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not an expression"),
        ("output.", "not an expression"),
        ("a b", "not an expression"),
        ("{{ key }}", "not an expression"),
        ("key }}{{ row", "not an expression"),
        ("output) }}{{ (row", "not an expression"),
        ("key|nope", "not an expression: No filter named 'nope'"),
        ("key is nope", "not an expression: No test named 'nope'"),
        ("[key]|random", "not an expression: No filter named 'random'"),
        ("outptu.total", "'outptu' is undefined: did you mean 'output'?"),
        ("lipsum()", "'lipsum' is undefined"),
        ("{{ output.a }}", "not an expression: expected token ':', got '}': write `output.a`, without braces"),
        (
            "output.a = 'b=c'",
            "not an expression: chunk after expression: write `output.a == 'b=c'`: `==` compares",
        ),
        ("len(output.a) > 3", "'len' is undefined: write `output.a | length`"),
        ("len(output['a'], 2)", "'len' is undefined: write `x | length`"),
        ("dict(a=1, a=2)", "not an expression: keyword argument repeated: a"),
        ("1٣.5", "not an expression: invalid character '٣'"),
    ],
)
def test_invalid_expression_is_rejected(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        compile_expression(text)
    assert str(caught.value).startswith(message)


def test_path_of_too_many_steps_is_rejected() -> None:
    with pytest.raises(ExpressionError, match="recursion"):
        compile_expression("output" + ".a" * 400)


@pytest.mark.parametrize(
    "text",
    ["output.total / 0", "key + 1", "row.clear()", "key|truncate(1)"],
)
def test_expression_on_unsuitable_values_raises_value_error(text: str) -> None:
    compiled = compile_expression(text)
    with pytest.raises(ValueError, match=r"\w"):
        compiled(OUTCOME_RECORD)
    assert OUTCOME_RECORD["row"] == {"a": 1}


@pytest.mark.parametrize("path", ["output.total", "output.lines[0].x", "row.a", "error.type", "output.lines[9].x"])
def test_plain_path_equals_the_compiled_expression(path: str) -> None:
    assert compile_expression(path)(OUTCOME_RECORD) == compile_expression(f"({path}) if true else none")(
        OUTCOME_RECORD
    )


@pytest.mark.parametrize("text", ["output.no + 1", "output.no.deeper * 2", "key.nope()"])
def test_expression_on_a_missing_value_is_none(text: str) -> None:
    assert compile_expression(text)({**OUTCOME_RECORD, "output": {}, "key": "k"}) is None
