"""Requests and keys that the API refuses."""

from collections.abc import Callable
from pathlib import Path

import pytest

from runner import Summary
from runner.errors import AccessError, RequestRejected
from tests.support.outputs import records
from tests.support.projects import EACH_ONCE, ROWS, write_job
from tests.support.simulator import paid

ACCESS = ("revoked-key", "forbidden", "spend-limit", "billing", "on-hold", "redirect")


@pytest.mark.parametrize("fault", ACCESS)
def test_denied_access_stops_the_run_until_fixed(
    tmp_path: Path, run_job: Callable[..., Summary], fault: str
) -> None:
    with pytest.raises(AccessError):
        run_job(faults=[f"{fault}:99"])
    assert paid(tmp_path / "api") == {}
    assert run_job().exit_code == 0
    assert paid(tmp_path / "api") == EACH_ONCE


@pytest.mark.parametrize("fault", ["refused-row", "refused-unnamed-row"])
@pytest.mark.parametrize("row", [1, 11, 20])
def test_refused_request_is_isolated(
    tmp_path: Path, run_job: Callable[..., Summary], fault: str, row: int
) -> None:
    summary = run_job(faults=[f"{fault}:{row}"])
    assert (summary.outcomes, summary.exit_code) == ({"succeeded": ROWS - 1, "rejected": 1}, 3)
    [record] = [one for one in records(tmp_path / "out/all.jsonl") if one["outcome"] == "rejected"]
    assert (record["key"], "Input should be" in record["error"]["message"]) == (f"r{row}", True)
    assert paid(tmp_path / "api") == {one: 1 for one in EACH_ONCE if one[1] != row}


def test_refusal_common_to_all_requests_rejects_no_row(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    for _ in range(2):
        with pytest.raises(RequestRejected, match="unknown beta"):
            run_job(faults=["refuse:9999"])
    assert run_job().outcomes == {"succeeded": ROWS}
    assert paid(tmp_path / "api") == EACH_ONCE


def test_refused_row_alone_in_a_batch_does_not_block_others(
    tmp_path: Path, run_job: Callable[..., Summary]
) -> None:
    write_job(tmp_path, rows=9)
    assert run_job(faults=["refused-row:9"]).outcomes == {"succeeded": 8, "rejected": 1}


def test_ambiguous_refusal_needs_a_decision(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=9)
    for _ in range(2):
        with pytest.raises(RequestRejected, match=r"row 9\)"):
            run_job(faults=["refused-unnamed-row:9"])
    assert run_job(faults=["refused-unnamed-row:9"], accept_loss=True).outcomes == {"succeeded": 8, "rejected": 1}


@pytest.mark.parametrize("times", [3, 6, 7, 8])
def test_temporary_refusal_rejects_no_row(tmp_path: Path, run_job: Callable[..., Summary], times: int) -> None:
    assert run_job(faults=[f"refuse:{times}"]).outcomes == {"succeeded": ROWS}
    assert paid(tmp_path / "api") == EACH_ONCE
