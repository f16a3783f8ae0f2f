"""Values of databases and other packages become plain JSON values, the same ones in each process."""

import enum
import os
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from runner.sources.json_values import check_column_names, row_to_json


class Text(str):  # noqa: SLOT000 - as in other packages
    """A type like numpy.str_."""


class Number(float):
    """A type like numpy.float64."""


class Level(enum.IntEnum):
    HIGH = 3


class Color(str, enum.Enum):  # noqa: UP042 - as in other packages
    RED = "red"


def test_name_that_occurs_twice_is_found_in_a_wide_header() -> None:
    names = [f"c{number}" for number in range(20_000)]
    assert check_column_names(names, "the header") == names
    for repeated, wanted in (("c7", ()), ("c7", ("c7",))):
        with pytest.raises(ValueError, match="two columns are named 'c7' in the header"):
            check_column_names([*names, repeated], "the header", wanted)
    assert len(check_column_names([*names, "c7", ""], "the header", ("c8",))) == 20_002


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Text("a"), "a"),
        (Color.RED, "red"),
        (Level.HIGH, 3),
        (Number(0.5), 0.5),
        ({Text("a"): [Text("b")]}, {"a": ["b"]}),
    ],
)
def test_derived_types_become_plain_values(value: Any, expected: Any) -> None:
    fields = row_to_json(["a"], [value])
    assert (fields, msgspec.json.decode(msgspec.json.encode(fields))) == ({"a": expected}, {"a": expected})


def test_set_has_the_same_order_in_each_process() -> None:
    code = "from runner.sources.json_values import to_json; print(to_json(set('qwertzuiop') | {3, 12, None}))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert found == {b"[None, 3, 12, 'e', 'i', 'o', 'p', 'q', 'r', 't', 'u', 'w', 'z']\n"}
