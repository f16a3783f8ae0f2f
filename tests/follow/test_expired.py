"""TODO Each fault that the simulator can have: the run ends as it should, and no row is paid twice."""

from collections.abc import Callable
from pathlib import Path

import pytest

from runner import Summary
from runner.errors import ResultsLost
from runner.simulator.faults import ErrorResponse
from tests.support.projects import EACH_ONCE, ROWS
from tests.support.simulator import accepted, fail_at, paid


@pytest.mark.parametrize("fault", ["archived", "deleted"])
def test_lost_results_stop_the_run_after_other_batches(
    tmp_path: Path, job: Callable[..., Summary], fault: str
) -> None:
    with pytest.raises(ResultsLost, match="The payment for 8 requests is lost"):
        job(faults=[fault])
    with pytest.raises(ResultsLost):
        job()
    summary = job(accept_loss=True)
    assert (summary.outcomes, summary.exit_code) == ({"succeeded": 12, "missing": 8}, 3)
    assert paid(tmp_path / "api").items() <= EACH_ONCE.items()


def test_unreadable_candidate_does_not_hide_a_readable_one(tmp_path: Path, job: Callable[..., Summary]) -> None:
    assert job(faults=["foreign-batch", "archived:1", "accept-then-drop"]).outcomes == {"succeeded": ROWS}
    assert paid(tmp_path / "api") == EACH_ONCE


@pytest.mark.parametrize("moment", ["retrieve", "results"])
def test_temporary_404_on_a_known_batch_is_ignored(
    tmp_path: Path, job: Callable[..., Summary], moment: str
) -> None:
    assert job(on=fail_at(moment, ErrorResponse(404, "not found"), times=2)).outcomes == {"succeeded": 20}
    assert accepted(tmp_path / "api") == 3


def test_missing_batch_ends_the_run_without_resending(tmp_path: Path, job: Callable[..., Summary]) -> None:
    with pytest.raises(ResultsLost, match="Nothing was sent again"):
        job(faults=["deleted:3"])
    assert accepted(tmp_path / "api") == 3
