"""Results that are gone for good, and batches that only seem to be."""

from collections.abc import Callable
from pathlib import Path

import pytest

from runner import Summary
from runner.errors import ResultsLost
from runner.simulator.responses import ErrorResponse
from tests.support.projects import EACH_ONCE, ROWS
from tests.support.simulator import accepted, fail_at, paid


@pytest.mark.parametrize("fault", ["archived", "deleted"])
def test_lost_results_stop_the_run_after_other_batches(
    tmp_path: Path, run_job: Callable[..., Summary], fault: str
) -> None:
    with pytest.raises(ResultsLost, match="The payment for 8 requests is lost"):
        run_job(faults=[fault])
    with pytest.raises(ResultsLost):
        run_job()
    summary = run_job(accept_loss=True)
    assert (summary.outcomes, summary.exit_code) == ({"succeeded": 12, "missing": 8}, 3)
    assert paid(tmp_path / "api").items() <= EACH_ONCE.items()


def test_unreadable_candidate_does_not_hide_a_readable_one(
    tmp_path: Path, run_job: Callable[..., Summary]
) -> None:
    assert run_job(faults=["foreign-batch", "archived:1", "accept-then-drop"]).outcomes == {"succeeded": ROWS}
    assert paid(tmp_path / "api") == EACH_ONCE


@pytest.mark.parametrize("moment", ["retrieve", "results"])
def test_temporary_404_on_a_known_batch_is_ignored(
    tmp_path: Path, run_job: Callable[..., Summary], moment: str
) -> None:
    assert run_job(on=fail_at(moment, ErrorResponse(404, "not found"), times=2)).outcomes == {"succeeded": 20}
    assert accepted(tmp_path / "api") == 3


def test_missing_batch_ends_the_run_without_resending(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    with pytest.raises(ResultsLost, match="Nothing was sent again"):
        run_job(faults=["deleted:3"])
    assert accepted(tmp_path / "api") == 3
