"""A run is judged by its figures."""

from dataclasses import replace
from typing import Any

import pytest

from runner.report.figures import CacheFigures, FieldFigures, Figures, Spread, ValueCount
from runner.report.judge import conclude, judge_run
from runner.runs.summary import Summary

NUMBERS = Spread(100, 0, 10, 5, 5, 9, is_whole=True, bins=[])
COST: dict[str, float | None] = {"estimated": 1.0, "actual": 1.0, "saved_by_cache": 0.0}


def figures(*, outcomes: dict[str, int] | None = None, cost: Any = None, **changes: Any) -> Figures:
    """The figures of a finished run of 100 rows in which nothing is wrong, but for these changes."""
    summary = Summary(
        "t1", "job", "finished", 100, outcomes or {"succeeded": 100}, [], [], {}, {**COST, **(cost or {})}, 60
    )
    found = Figures(
        summary, 0.0, 60.0, "model", 500, 100, 0, [], [], [], [], [], None, None, CacheFigures(0, 0)
    )  # fmt: skip
    return replace(found, **changes)


def texts(found: Figures) -> list[str]:
    return [finding.text for finding in judge_run(found)]


def values(*counts: int) -> FieldFigures:
    return FieldFigures("label", sum(counts), 0, [ValueCount(f"v{at}", count) for at, count in enumerate(counts)])


def test_good_run_has_no_findings() -> None:
    found = figures(fields=[values(60, 40)])
    assert judge_run(found) == []
    assert conclude(found, []) == "Finished: 100 of 100 rows succeeded for $1.0000; nothing looks wrong."


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"fields": [values(71, 29)]}, "label is 'v0' in 71 % of 100."),
        ({"fields": [FieldFigures("a", 100, 21)]}, "Often null or missing: a in 21 % of 100."),
        (
            {"fields": [FieldFigures("s", 100, 0, numbers=NUMBERS, bounds=(0, 10), at_high=21)]},
            "s is at its maximum of 10 in 21 % of 100.",
        ),
        ({"cost": {"actual": 1.26}}, "The run cost $1.2600, 26 % more than estimated: $1.0000."),
        ({"cost": {"actual": 0.74}}, "The run cost $0.7400, 26 % less than estimated: $1.0000."),
        (
            {"cost": {"saved_by_cache": -0.5}},
            "Writing the prompt cache cost $0.5000 more than reading it has saved.",
        ),
        (
            {"cache": CacheFigures(100, 79)},
            "Only 79 % of 100 requests read the prompt cache that they were planned to read.",
        ),
        ({"stopped_at_limit": 3}, "3 answers (3 %) stopped at max_tokens (500)."),
    ],
)
def test_doubtful_figure_is_found(changes: dict[str, Any], text: str) -> None:
    assert texts(figures(**changes)) == [text]


@pytest.mark.parametrize(
    "changes",
    [
        {"fields": [values(70, 30)]},
        {"fields": [values(18, 1)]},
        {"fields": [FieldFigures("a", 100, 20)]},
        {"fields": [FieldFigures("s", 100, 0, numbers=NUMBERS, bounds=(1, 5), at_high=39)]},
        {"cost": {"actual": 1.25}},
        {"cost": {"estimated": None}},
        {"cache": CacheFigures(100, 80)},
    ],
)
def test_usual_figure_is_not_found(changes: dict[str, Any]) -> None:
    assert judge_run(figures(**changes)) == []


def test_failures_come_first_with_their_commands() -> None:
    found = judge_run(figures(outcomes={"succeeded": 90, "refused": 10}, fields=[values(71, 19)]))
    assert [finding.severity for finding in found] == ["bad", "bad", "doubtful"]
    assert [finding.command for finding in found] == ["runner retry t1", "runner show t1 --outcome refused", None]


def test_unfinished_run_says_what_is_known() -> None:
    found = figures(outcomes={"succeeded": 7})
    found = replace(found, summary=replace(found.summary, state="running"))
    assert conclude(found, []).startswith("Not finished: 7 of 100 rows succeeded so far")
