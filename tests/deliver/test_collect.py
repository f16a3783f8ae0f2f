"""Collected results: what they cost, if the server says it in an unusual way."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import Summary
from runner.cli.texts.summary import format_conclusion
from runner.errors import CostCapReached
from tests.support.projects import EACH_ONCE, SPEC, write_job
from tests.support.simulator import paid

# Each request costs at most 0.0001 US dollars.
CAPPED: dict[str, Any] = {"limits": {"max_cost": 0.0005}, "batch": {**SPEC["batch"], "max_requests": 1}}
UNREADABLE = [{"output_tokens": "200"}, {"output_tokens": None}, {"cache_creation": 5}, {"inference_geo": ["us"]}]


@pytest.mark.parametrize("changes", UNREADABLE, ids=str)
def test_unreadable_usage_counts_as_the_maximum_under_a_cap(
    tmp_path: Path, run_job: Callable[..., Summary], changes: dict[str, Any]
) -> None:
    write_job(tmp_path, **CAPPED)
    with pytest.raises(CostCapReached):
        run_job(usage=lambda _, usage: {**usage, "input_tokens": 0, "output_tokens": 0, **changes})


def test_readable_usage_of_nothing_fits_under_the_same_cap(
    tmp_path: Path, run_job: Callable[..., Summary]
) -> None:
    write_job(tmp_path, **CAPPED)
    summary = run_job(usage=lambda _, usage: {**usage, "input_tokens": 0, "output_tokens": 0})
    assert (summary.outcomes, summary.cost["actual"]) == ({"succeeded": 20}, 0)


@pytest.mark.parametrize("changes", UNREADABLE, ids=str)
def test_bill_of_unreadable_usage_is_unknown(run_job: Callable[..., Summary], changes: dict[str, Any]) -> None:
    lines: list[str] = []
    summary = run_job(usage=lambda _, usage: {**usage, **changes}, on_event=lambda one: lines.append(one.message))
    [field] = changes
    assert (summary.cost["actual"], summary.unreadable_usage) == (None, {field: 20})
    assert [line for line in lines if f"warning: usage.{field} of 8 answers cannot be read" in line]
    shown = format_conclusion(summary, is_simulated=False)
    assert "cost    unknown, at most $0." in shown and field in shown


def test_result_of_an_unknown_type_may_be_billed(run_job: Callable[..., Summary]) -> None:
    summary = run_job(mix=lambda _: "future-result")
    assert (summary.outcomes, summary.cost["actual"]) == ({"errored": 20}, None)
    assert (summary.cost["max"] or 0) > 0


@pytest.mark.parametrize("fault", ["line-conflict", "line-conflict-first"])
def test_succeeded_line_wins_over_one_that_contradicts_it(
    tmp_path: Path, run_job: Callable[..., Summary], fault: str
) -> None:
    lines: list[str] = []
    summary = run_job(faults=[fault], on_event=lambda one: lines.append(one.message))
    assert (summary.outcomes, paid(tmp_path / "api"), summary.exit_code) == ({"succeeded": 20}, EACH_ONCE, 3)
    assert len([line for line in lines if "contradict each other: the one that succeeded was taken" in line]) == 1
