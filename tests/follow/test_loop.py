"""The loop over all batches: in flight together, stopped, resumed, and retried."""

from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Event

import pytest

from runner import Summary
from runner.simulator.responses import DropConnection, ErrorResponse
from tests.support.simulator import accepted, fail_at


def test_many_batches_are_in_flight_at_once(run_job: Callable[..., Summary]) -> None:
    moments: list[str] = []
    summary = run_job(on=moments.append, seconds=2)
    assert moments.index("results") > max(index for index, name in enumerate(moments) if name == "created")
    assert [batch["requests"] for batch in summary.batches] == [8, 7, 5]


def test_full_queue_is_not_found_out_by_uploading(run_job: Callable[..., Summary]) -> None:
    moments: list[str] = []
    summary = run_job(on=moments.append, seconds=1, poll_seconds=1, faults=["max-queue:8"])
    assert summary.outcomes == {"succeeded": 20}
    # Batches of 8, 7 and 5 requests: the second and the third are refused once, while the one before is there.
    assert moments.count("create") == 5


def test_requests_of_others_that_fill_the_queue_are_waited_for(run_job: Callable[..., Summary]) -> None:
    moments: list[str] = []
    assert run_job(on=moments.append, seconds=0.2, faults=["queue-full:3"]).outcomes == {"succeeded": 20}
    assert moments.count("create") == 6


def test_results_are_downloaded_several_at_once(run_job: Callable[..., Summary]) -> None:
    assert run_job(wait=False).state == "running"
    together = Barrier(3)

    def on(moment: str) -> None:
        if moment == "results":
            together.wait(timeout=120)

    assert run_job(on=on).outcomes == {"succeeded": 20}


def test_failed_download_beside_others_is_repeated(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    assert run_job(wait=False).state == "running"
    assert run_job(on=fail_at("results-half", DropConnection(), times=2)).outcomes == {"succeeded": 20}
    assert accepted(tmp_path / "api") == 3


@pytest.mark.parametrize("moment", ["retrieve", "list", "results"])
@pytest.mark.parametrize(
    "error", [DropConnection(), ErrorResponse(500, "boom"), ErrorResponse(529, "busy"), ErrorResponse(429, "slow")]
)
def test_failed_read_call_is_retried(
    tmp_path: Path, run_job: Callable[..., Summary], moment: str, error: Exception
) -> None:
    assert run_job(on=fail_at(moment, error, times=2)).outcomes == {"succeeded": 20}
    assert accepted(tmp_path / "api") == 3


def test_interrupted_download_is_repeated(run_job: Callable[..., Summary]) -> None:
    assert run_job(on=fail_at("results-half", DropConnection(), times=2)).outcomes == {"succeeded": 20}


def test_no_wait_run_advances_with_each_call(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    first = run_job(wait=False)
    assert (first.state, first.exit_code, accepted(tmp_path / "api")) == ("running", 4, 3)
    second = run_job(wait=False)
    assert (second.run, second.state, accepted(tmp_path / "api")) == (first.run, "finished", 3)


def test_stopped_run_resumes(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    stop = Event()
    first = run_job(on=lambda name: stop.set() if name == "created" else None, stop=stop)
    assert (first.state, accepted(tmp_path / "api")) == ("running", 1)
    assert (run_job().run, accepted(tmp_path / "api")) == (first.run, 3)
