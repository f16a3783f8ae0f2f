"""The tests of this folder draw 10,000 inputs or more."""

import re

from tests.support import TESTS

INPUTS = 10_000


def test_at_least_ten_thousand_inputs_are_tried() -> None:
    counts = [
        int(count)
        for path in (TESTS / "fuzz").glob("test_*.py")
        for count in re.findall(r"^@tries\((\d+)\)", path.read_text("utf-8"), re.MULTILINE)
    ]
    assert sum(counts) >= INPUTS
