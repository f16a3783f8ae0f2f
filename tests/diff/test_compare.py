"""Two results of a row are compared by value, and each difference has its causes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from runner.lifecycle.diff.causes import ChangedParts, find_causes
from runner.lifecycle.diff.compare import RowState, compare_rows, find_field_changes, is_equal

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)
NOTHING = ChangedParts()


def state(output: Any = None, outcome: str | None = "succeeded", *, reason: str | None = None) -> RowState:
    return RowState("k", b"fields", b"request", outcome, reason, output)


def with_reversed_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: with_reversed_keys(inner) for name, inner in reversed(value.items())}
    return [with_reversed_keys(inner) for inner in value] if isinstance(value, list) else value


@given(JSON)
def test_order_of_keys_makes_no_difference(value: Any) -> None:
    assert is_equal(value, with_reversed_keys(value))
    assert list(find_field_changes(value, with_reversed_keys(value))) == []


@given(JSON, JSON)
def test_values_without_changes_are_equal(old: Any, new: Any) -> None:
    assert is_equal(old, new) == (list(find_field_changes(old, new)) == [])


@pytest.mark.parametrize(
    ("old", "new", "is_same"),
    [
        (1, 1.0, True),
        (0.1, 0.1000, True),
        (1, True, False),
        (0, False, False),
        (None, False, False),
        ("1", 1, False),
    ],
)
def test_numbers_are_equal_by_value(old: Any, new: Any, is_same: bool) -> None:
    assert is_equal([{"a": old}], [{"a": new}]) == is_same


def test_fields_are_named_by_their_paths() -> None:
    old = {"a": 1, "b": {"c": [1, 2], "d": "x"}, "gone": None}
    new = {"b": {"d": "x", "c": [1, 3]}, "a": 1, "come": 0}
    assert list(find_field_changes(old, new)) == [
        ("output.b.c", [1, 2], [1, 3]),
        ("output.gone", None, UNSET),
        ("output.come", UNSET, 0),
    ]


def test_text_is_compared_as_a_whole() -> None:
    assert list(find_field_changes("a dog", "a cat")) == [("output", "a dog", "a cat")]


def test_output_can_be_nested_deeper_than_calls() -> None:
    def nest(inside: int) -> Any:
        value: Any = inside
        for _ in range(5_000):
            value = {"a": [value]}
        return value

    assert is_equal(nest(1), nest(1))
    assert len(list(find_field_changes(nest(1), nest(2)))) == 1


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        (state({"a": 1}), state({"a": 1}), "same"),
        (state({"a": 1}), state({"a": 2}), "changed"),
        (state({"a": 1}), state(outcome="refused", reason="refused"), "regressed"),
        (state(outcome="refused", reason="refused"), state({"a": 1}), "fixed"),
        (state(outcome="refused", reason="refused"), state(outcome="refused", reason="refused"), "same"),
        (state(outcome="refused", reason="refused"), state(outcome="errored", reason="errored: x"), "changed"),
        (state(outcome=None), state({"a": 1}), "pending"),
    ],
)
def test_kind_of_a_row_follows_from_both_outcomes(old: RowState, new: RowState, kind: str) -> None:
    assert compare_rows(old, new, NOTHING).kind == kind


@pytest.mark.parametrize(
    ("parts", "is_same_row", "is_same_request", "causes"),
    [
        (NOTHING, True, True, ("again",)),
        (ChangedParts(("prompt",)), True, True, ("again",)),
        (ChangedParts(is_judged_differently=True), True, True, ("output",)),
        (ChangedParts(("prompt", "model")), True, False, ("prompt", "model")),
        (ChangedParts(("prompt",)), False, False, ("data", "prompt")),
        (NOTHING, False, False, ("data",)),
        (ChangedParts(attaches_files=True), True, False, ("file",)),
        (ChangedParts(attaches_files=True), True, None, ("again",)),
        (NOTHING, True, False, ("again",)),
        (NOTHING, True, None, ("again",)),
    ],
)
def test_causes_are_what_differs_of_the_request(
    parts: ChangedParts, is_same_row: bool, is_same_request: bool | None, causes: tuple[str, ...]
) -> None:
    assert find_causes(parts, is_same_row=is_same_row, is_same_request=is_same_request) == causes
