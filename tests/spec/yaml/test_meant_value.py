"""A value of the wrong type gets a remedy that works when it is followed literally."""

from pathlib import Path
from typing import Any

import pytest

from runner.spec.meant_value import suggest_value
from tests.support.projects import load_problems

SPAN = {"patternErrorMessage": "expected a time span such as 90m"}


@pytest.mark.parametrize(
    ("value", "wanted", "end"),
    [
        ("finished", ["array"], "write [finished]"),
        ("./load.sh", ["array"], 'write ["./load.sh"]'),
        (".5", ["array"], 'write [".5"]'),
        ("no", ["array"], 'write ["no"]'),
        ("a: b", ["array"], 'write ["a: b"]'),
        (5, ["array"], "write [5]"),
        ("$5", ["number"], "write 5"),
        ("1,000,000", ["integer"], "write 1000000"),
        ("50", ["integer", "object"], "write 50"),
        ("12345678901234567890", ["integer"], "write 12345678901234567890"),
        ("0.50", ["number"], "write 0.5"),
        (5, ["string"], "write it in quotes"),
        ("No", ["boolean"], "write false"),
    ],
)
def test_meant_value_is_suggested(value: Any, wanted: list[str], end: str) -> None:
    assert suggest_value(value, wanted, {}) == f": {end}"


def test_mapping_is_put_into_a_list_as_a_whole() -> None:
    message = suggest_value({"on": []}, ["array"], {})
    assert "`- ` before its first key and two more spaces before the others, or [ ] around {}" in message


@pytest.mark.parametrize(("text", "number"), [("90%", "0.9"), ("33.3 %", "0.333")])
def test_percentage_is_read_where_a_share_is_wanted(text: str, number: str) -> None:
    assert suggest_value(text, ["number"], {"maximum": 1}) == f": write {number}"
    assert suggest_value(text, ["number"], {}) == ""


def test_receiver_that_is_a_text_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "specs").mkdir()
    [problem] = load_problems(tmp_path, "notify: https://hooks.example/services/T0/B0/secret")
    assert problem.message == "notify must be a list"


def test_form_of_a_text_is_named_for_a_number() -> None:
    assert suggest_value(30, ["string"], SPAN) == ": expected a time span such as 90m"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("many", ["number"]),
        ("0,50", ["number"]),
        ("1,5", ["integer"]),
        ("9" * 400, ["number"]),
        ("https://user:pw@host/x", ["array"]),
        ("a\u2028b", ["array"]),
        ("x" * 200, ["array"]),
        (1.1, ["array"]),
        ("1.5", ["integer"]),
        (True, ["array"]),
        (True, ["string"]),
        (None, ["string"]),
        ([], ["object"]),
    ],
)
def test_nothing_is_suggested_without_a_good_guess(value: Any, wanted: list[str]) -> None:
    assert suggest_value(value, wanted, {}) == ""
