"""The text of a comparison: a verdict in words, and examples that fit on a line."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.cli.texts.diff import format_diff
from runner.lifecycle.diff.compare import KINDS
from runner.lifecycle.diff.diff import ComparedRun, Diff
from runner.lifecycle.diff.totals import Example, FieldTotals

RUN = ComparedRun("t1", "job", "finished", 40, 0.0, is_simulated=False)


def diff_of(
    because: dict[str, int] | None = None, *, fields: list[FieldTotals] | None = None, **rows: int
) -> Diff:
    counts = {**dict.fromkeys(KINDS, 0), **rows}
    return Diff(RUN, RUN, [], counts, because or {}, 40, fields or [], {}, [], [])


@pytest.mark.parametrize(
    ("diff", "verdict"),
    [
        (diff_of(same=40), "job: no differences in 40 rows"),
        (diff_of(same=1, added=2, removed=3), "job: no differences in 1 row; 2 added and 3 removed"),
        (diff_of(added=2, removed=3), "job: no row has a result in both runs; 2 added and 3 removed"),
        (diff_of(pending=2), "job: no row has a result in both runs"),
        (diff_of({"prompt": 2}, same=3, changed=2), "job: 2 of 5 rows differ, because of the prompt"),
        (
            diff_of({"data+model": 3, "data": 1}, same=3, changed=3, regressed=1),
            "job: 4 of 7 rows differ, 1 of them regressed, mostly because of the data and the model",
        ),
        (
            diff_of({"again": 1}, same=3, fixed=1),
            "job: 1 of 4 rows differ, because the same requests got other answers",
        ),
        (diff_of({"data": 1, "prompt": 1}, same=3, changed=2), "job: 2 of 5 rows differ, for several reasons"),
    ],
)
def test_first_line_is_the_verdict(diff: Diff, verdict: str) -> None:
    assert format_diff(diff).splitlines()[0] == verdict


def examples_of(old: Any, new: Any) -> str:
    diff = diff_of({"data": 1}, changed=1, fields=[FieldTotals("output", 1, [Example("r1", old, new)])])
    return format_diff(diff).splitlines()[-1].strip()


def test_long_texts_are_cut_around_their_first_difference() -> None:
    shared = "The same beginning of a long text, "
    old, new = (
        f"{shared}then a cat and many more words of no use",
        f"{shared}then a dog and many more words of no use",
    )
    assert (
        examples_of(old, new)
        == "r1: …ext, then a cat and many more words of n… → …ext, then a dog and many more words of n…"
    )


def test_missing_and_empty_values_are_named() -> None:
    assert examples_of("", "a") == 'r1: "" → a'
    assert format_diff(
        diff_of({"data": 1}, changed=1, fields=[FieldTotals("output.a", 1, [Example("r1", new=1)])])
    ).endswith("r1: (missing) → 1")


@given(st.text(), st.text())
def test_example_is_one_short_safe_line(old: str, new: str) -> None:
    line = examples_of(old, new)
    assert line.startswith("r1:") and " → " in line
    assert "\x1b" not in line
    assert len(line) <= 6 * 100
