"""Numbers and fields are counted exactly while they are few, and in flat memory when they are many."""

import random
from typing import Any

import pytest

from runner.report.fields import FieldCounter
from runner.report.figures import FieldFigures, Spread
from runner.report.totals import NumberTotals, read_day


def spread(*numbers: float) -> Spread:
    totals = NumberTotals()
    for number in numbers:
        totals.add(number)
    found = totals.spread()
    assert found is not None
    return found


def count(*outputs: Any, schema: dict[str, Any] | None = None) -> dict[str, FieldFigures]:
    counter = FieldCounter(schema or {})
    for output in outputs:
        counter.add(output)
    return {field.name: field for field in counter.figures()}


def test_few_numbers_are_exact() -> None:
    found = spread(1, 2, 2, 5)
    assert (found.low, found.high, found.mean, found.median, found.is_whole) == (1, 5, 2.5, 2, True)
    assert [(one.low, one.values) for one in found.bins] == [(1, 1), (2, 2), (3, 0), (4, 0), (5, 1)]


def test_many_numbers_are_exact_to_a_cell() -> None:
    chance = random.Random(7)
    numbers = sorted(chance.uniform(-50, 1000) for _ in range(20_000))
    found = spread(*numbers)
    assert sum(one.values for one in found.bins) == found.count == 20_000
    assert found.median == pytest.approx(numbers[10_000], abs=10)
    assert found.p95 == pytest.approx(numbers[19_000], abs=10)


@pytest.mark.parametrize("value", [1e140, -1e140, 5e-324, 0.0, 1e-9])
def test_any_two_numbers_have_a_histogram(value: float) -> None:
    found = spread(*(value * step / 500 for step in range(500)), 1)
    assert sum(one.values for one in found.bins) == 501


def test_numbers_that_are_not_finite_are_left_out() -> None:
    assert spread(float("inf"), float("nan"), 1e308, 10**400, 3).count == 1


@pytest.mark.parametrize(
    ("text", "is_day"),
    [("2026-02-28", True), ("2026-02-28T10:00:00Z", True), ("2026-02-30", False), ("2026", False), ("", False)],
)
def test_days_are_recognized(text: str, *, is_day: bool) -> None:
    assert (read_day(text) is not None) == is_day


def test_fields_are_counted_by_their_kind() -> None:
    outputs = [
        {"kind": "a" if n % 3 else "b", "n": n, "day": f"2026-01-{n + 1:02}", "ok": True} for n in range(12)
    ]
    found = count(*outputs)
    assert [(one.value, one.rows) for one in found["kind"].values] == [("a", 8), ("b", 4)]
    assert found["n"].numbers is not None and found["n"].numbers.count == 12
    assert found["day"].dates is not None and not found["day"].values
    assert [one.value for one in found["ok"].values] == ["true"]


def test_null_and_missing_fields_count_alike() -> None:
    found = count({"a": 1, "b": None}, {"a": 2}, {"a": 3, "b": 4})
    assert (found["b"].of, found["b"].nulls) == (3, 2)


def test_fields_of_lists_count_items() -> None:
    found = count({"items": [{"x": 1}, {"x": None}]}, {"items": []}, {"items": None, "tags": ["p", "p", "p"]})
    assert (found["items[].x"].of, found["items[].x"].nulls, found["items"].nulls) == (2, 1, 1)
    assert [tuple(one) for one in found["tags[]"].values] == [("p", 3)]


def test_declared_values_without_answers_are_listed() -> None:
    schema = {"properties": {"label": {"enum": ["a", "b"]}}}
    assert [tuple(one) for one in count({"label": "b"}, schema=schema)["label"].values] == [("b", 1), ("a", 0)]


def test_numbers_at_their_bounds_are_counted() -> None:
    schema = {"properties": {"score": {"minimum": 0, "maximum": 10}}}
    found = count({"score": 0}, {"score": 10}, {"score": 10}, schema=schema)["score"]
    assert (found.at_low, found.at_high, found.bounds) == (1, 2, (0, 10))


def test_fields_beyond_a_hundred_are_left_out() -> None:
    found = count({f"f{number}": {"deep": {"deeper": number}} for number in range(500)}, "text", [1, [2]])
    assert len(found) <= 100
