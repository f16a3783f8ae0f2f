"""A custom_id maps to one row of its own batch."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.requests.custom_id import make_custom_id, parse_row_number


@given(st.integers(0, 10**9), st.integers(1, 99), st.integers(1, 10**5))
def test_custom_id_maps_to_a_row_of_its_own_batch_only(row: int, round: int, batch: int) -> None:
    made = make_custom_id("20261122-abc", round, batch, row)
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", made)
    assert parse_row_number(made, prefix=make_custom_id("20261122-abc", round, batch, 0)[:-1]) == row
    assert parse_row_number(made, prefix=make_custom_id("20261122-abc", round, batch + 1, 0)[:-1]) is None


@pytest.mark.parametrize("end", ["", "x", "-3", "3 ", "٣", "²", "1e3", "3-4", "0x1", "+1", "01", "9" * 5000])
def test_id_without_a_row_number_maps_to_no_row(end: str) -> None:
    assert parse_row_number(f"r-1-2-{end}", prefix="r-1-2-") is None
