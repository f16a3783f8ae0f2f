"""Rows are sent again only if that can help, and only as often as allowed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from runner import Summary
from runner.errors import StateError
from tests.support.outputs import records
from tests.support.projects import EACH_ONCE, IMPOSSIBLE_SCHEMA, ROWS, SPEC, change_results, write_job
from tests.support.simulator import accepted, end_batches, paid


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("canceled:4", "canceled"),
        ("truncated:4", "truncated"),
        ("refused:4", "refused"),
        ("future-result:4", "errored"),
    ],
)
def test_permanent_failures_are_not_retried(
    tmp_path: Path, run_job: Callable[..., Summary], fault: str, outcome: str
) -> None:
    assert run_job(faults=[fault]).outcomes == {"succeeded": ROWS - 4, outcome: 4}
    assert paid(tmp_path / "api") == EACH_ONCE


@pytest.mark.parametrize(
    "fault", ["errored:4", "overloaded:4", "expired:4", "invalid:4", "uncounted:4", "batch-expired:1"]
)
def test_temporary_failures_are_retried_once(tmp_path: Path, run_job: Callable[..., Summary], fault: str) -> None:
    assert run_job(faults=[fault]).outcomes == {"succeeded": ROWS}
    again = {one: times for one, times in paid(tmp_path / "api").items() if one[0] != "1"}
    assert (len(again), set(again.values())) == (8 if fault == "batch-expired:1" else 4, {1})


def test_a_lone_request_without_a_result_ends_as_missing(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=1, retry={"attempts": 2})
    assert run_job(faults=["uncounted:2"]).outcomes == {"missing": 1}
    assert accepted(tmp_path / "api") == 2


def test_only_retryable_rows_are_sent_again(run_job: Callable[..., Summary]) -> None:
    kinds = {"1": "errored", "2": "expired", "3": "invalid", "4": "overloaded", "5": "refused", "6": "truncated"}
    summary = run_job(
        mix=lambda id: kinds.get(id.rsplit("-")[-1], "succeeded") if "-1-" in id[13:16] else "succeeded"
    )
    assert summary.outcomes == {"succeeded": 18, "truncated": 1, "refused": 1}
    assert [batch["requests"] for batch in summary.batches] == [8, 7, 5, 4]
    assert summary.exit_code == 3


def test_invalid_request_is_sent_once(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, output={"schema": IMPOSSIBLE_SCHEMA})
    summary = run_job()
    error = records(tmp_path / "out" / "all.jsonl")[0]["error"]
    assert (summary.outcomes, error["type"]) == ({"errored": 20}, "invalid_request_error")
    assert accepted(tmp_path / "api") == 3


def test_failing_row_is_sent_as_often_as_retry_allows(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, retry={"attempts": 2})
    summary = run_job(mix=lambda id: "errored" if id.endswith("-7") else "succeeded")
    assert summary.outcomes == {"succeeded": 19, "errored": 1}
    assert [batch["requests"] for batch in summary.batches] == [8, 7, 5, 1]


def test_results_that_are_not_counted_are_sent_again(run_job: Callable[..., Summary]) -> None:
    moments: list[str] = []
    summary = run_job(mix=lambda id: "uncounted" if id.endswith("-1-1-3") else "succeeded", on=moments.append)
    assert summary.outcomes == {"succeeded": 20}
    assert [batch["requests"] for batch in summary.batches] == [8, 7, 5, 1]
    assert moments.count("results") >= 6


def test_damaged_mark_sends_no_answered_row_again(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=2, batch={**SPEC["batch"], "max_requests": 1})
    run_job(wait=False, seconds=600)
    end_batches(tmp_path / "api", limit=1)
    assert run_job(wait=False).outcomes == {"succeeded": 1}
    change_results(tmp_path, lambda one: one._replace(retry=1))
    with pytest.raises(StateError, match=r"row \d is marked to be sent again, but cannot be: its result is final"):
        run_job()
    assert accepted(tmp_path / "api") == 2
