"""A value of the wrong type gets a remedy that works when it is followed literally."""

from typing import Any

import pytest

from runner.spec.meant_value import suggest_value

SPAN = {"patternErrorMessage": "expected a time span such as 90m"}


@pytest.mark.parametrize(
    ("value", "wanted", "end"),
    [
        ("finished", ["array"], "write [finished]"),
        ("./load.sh", ["array"], "write [./load.sh]"),
        ("no", ["array"], 'write ["no"]'),
        ("a: b", ["array"], 'write ["a: b"]'),
        (5, ["array"], "write [5]"),
        ({"on": []}, ["array"], "write `- ` before it, so that it is the first item of a list"),
        ("90%", ["number"], "write 0.9"),
        ("33.3 %", ["number"], "write 0.333"),
        ("$5", ["number"], "write 5"),
        ("1,000,000", ["integer"], "write 1000000"),
        ("50", ["integer", "object"], "write 50"),
        (5, ["string"], 'write "5"'),
        ("No", ["boolean"], "write false"),
    ],
)
def test_meant_value_is_suggested(value: Any, wanted: list[str], end: str) -> None:
    assert suggest_value(value, wanted, {}) == f": {end}"


def test_form_of_a_text_is_named_for_a_number() -> None:
    assert suggest_value(30, ["string"], SPAN) == ": expected a time span such as 90m"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("many", ["number"]),
        ("1.5", ["integer"]),
        (True, ["array"]),
        (True, ["string"]),
        (None, ["string"]),
        ([], ["object"]),
    ],
)
def test_nothing_is_suggested_without_a_good_guess(value: Any, wanted: list[str]) -> None:
    assert suggest_value(value, wanted, {}) == ""
