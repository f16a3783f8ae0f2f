"""Rows of two runs are paired by key, in whatever order they are."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from runner.lifecycle.diff.causes import ChangedParts
from runner.lifecycle.diff.compare import RowState, compare_rows
from runner.lifecycle.diff.pairs import pair_rows

KEYS = st.lists(st.integers(0, 40), unique=True, max_size=30)
VALUES = st.text(max_size=3) | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
OUTPUTS = st.dictionaries(st.sampled_from("abc"), VALUES)
NOTHING = ChangedParts()


def state(key: str | int, output: Any = None) -> RowState:
    return RowState(key, b"fields", None, "succeeded", None, output)


def pair_keys(old: list[int], new: list[int]) -> list[tuple[Any, Any]]:
    pairs = pair_rows(map(state, old), (state(str(key)) for key in new))
    return [(before and before.key, after and after.key) for before, after in pairs]


@given(KEYS, KEYS)
def test_each_row_is_paired_once(old: list[int], new: list[int]) -> None:
    both, found = set(old) & set(new), pair_keys(old, new)
    expected: list[tuple[Any, Any]] = [(key, str(key)) for key in both]
    expected += [(key, None) for key in set(old) - both] + [(None, str(key)) for key in set(new) - both]
    assert sorted(found, key=str) == sorted(expected, key=str)


def test_rows_without_partner_come_last_in_their_order() -> None:
    assert pair_keys([9, 1, 2, 8], [7, 2, 1, 6]) == [
        (2, "2"),
        (1, "1"),
        (9, None),
        (8, None),
        (None, "7"),
        (None, "6"),
    ]


@given(st.lists(OUTPUTS, max_size=10), st.randoms())
def test_rows_that_wait_are_still_equal(outputs: list[Any], random: Any) -> None:
    rows = [state(number, output) for number, output in enumerate(outputs)]
    shuffled = random.sample(rows, len(rows))
    pairs = list(pair_rows(iter(rows), iter(shuffled)))
    kinds = [compare_rows(old, new, NOTHING).kind for old, new in pairs if old is not None and new is not None]
    assert kinds == ["same"] * len(rows)
