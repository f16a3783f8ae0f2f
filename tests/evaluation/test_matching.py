"""Each way to compare an answer with its label."""

from decimal import Decimal
from typing import Any

import pytest

from runner.evaluation.matching import make_match, to_number
from runner.templates.expressions import ExpressionError


@pytest.mark.parametrize(
    ("match", "expected", "actual"),
    [
        ("exact", "bug", "bug"),
        ("exact", "3", 3),
        ("exact", "3", 3.0),
        ("exact", "true", True),
        ("exact", "null", None),
        ("exact", {"a": 1, "b": [2.0]}, {"b": [2], "a": 1}),
        ("casefold", "STRASSE", "straße"),
        ("json", '{"a": [1, 2.0]}', {"a": [1, 2]}),
        ("json", "no {JSON", "no {JSON"),
        ("set", '["b", "a"]', ["a", "b", "b"]),
        ("set", "a", ["a"]),
        ("set", [1], [1.0]),
        ("expected in actual", "Acme", "Acme Ltd"),
        ("(expected | trim) == actual", " a ", "a"),
    ],
)
def test_values_match(match: str, expected: Any, actual: Any) -> None:
    assert make_match(match)(expected, actual)


@pytest.mark.parametrize(
    ("match", "expected", "actual"),
    [
        ("exact", "bug", "Bug"),
        ("exact", 1, True),
        ("exact", "3.0", 3),
        ("exact", '["a", "b"]', ["a", "b"]),
        ("casefold", "bug", "bugs"),
        ("json", "[1, 2]", [2, 1]),
        ("set", '["a"]', ["a", "b"]),
        ("set", "a", None),
        ("expected in actual", "Acme", None),
        ("actual - expected < 3", "text", 1),
    ],
)
def test_values_do_not_match(match: str, expected: Any, actual: Any) -> None:
    assert not make_match(match)(expected, actual)


def test_expression_knows_two_names() -> None:
    with pytest.raises(ExpressionError, match="'output' is undefined"):
        make_match("output == expected")


@pytest.mark.parametrize(("value", "number"), [(" 12.50 ", "12.5"), (0.1, "0.1"), (-3, "-3"), ("1e3", "1000")])
def test_number_is_read_as_it_is_written(value: Any, number: str) -> None:
    assert to_number(value) == Decimal(number)


@pytest.mark.parametrize("value", ["n/a", "", "1,234", True, None, [1], float("nan"), "inf", "1e999", "sNaN"])
def test_other_values_are_no_numbers(value: Any) -> None:
    with pytest.raises(ValueError, match=r"no number|NaN"):
        to_number(value)
