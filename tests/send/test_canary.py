"""The canary is sent first, and stops a run that would fail."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import Summary
from runner.errors import CanaryFailed
from runner.lifecycle.maintain.doctor import diagnose_state
from tests.support.processes import RUN, command, end, kill, start
from tests.support.projects import write_job
from tests.support.simulator import accepted, answered, paid, simulator


def test_the_canary_goes_first_and_the_others_follow(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, canary=3)
    order: list[str] = []
    summary = run_job(on=order.append)
    assert summary.outcomes == {"succeeded": 20}
    assert sorted(answered(tmp_path / "api")) == [f"text number {number}" for number in (1, 2, 3)]
    assert set(paid(tmp_path / "api")) == {("1", row) for row in range(4, 21)}
    assert order.index("create") > max(index for index, moment in enumerate(order) if moment == "answered")


def test_a_canary_that_fails_stops_the_run_before_any_batch(
    tmp_path: Path, run_job: Callable[..., Summary]
) -> None:
    write_job(tmp_path, canary=3)
    with pytest.raises(CanaryFailed, match="3 of 3 rows did not succeed") as caught:
        run_job(mix=lambda _: "invalid")
    assert "row 1 is invalid: not JSON" in str(caught.value)
    assert (len(answered(tmp_path / "api")), paid(tmp_path / "api")) == (3, {})
    assert run_job().outcomes == {"succeeded": 20}
    assert len(answered(tmp_path / "api")) == 6


def test_answers_of_a_failed_canary_are_not_paid_again(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, canary=3)
    kinds = iter(["succeeded", "refused", "succeeded"])
    with pytest.raises(CanaryFailed, match="1 of 3 rows"):
        run_job(mix=lambda _: next(kinds))
    assert run_job().outcomes == {"succeeded": 20}
    # One of the first three again, and two more rows in the place of the other two.
    assert len(answered(tmp_path / "api")) == 6


def test_overloaded_canary_is_not_a_failure(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, canary=3)
    assert run_job(faults=["answer-then-drop"]).outcomes == {"succeeded": 20}


def test_canary_without_an_answer_is_sent_again(
    tmp_path: Path, run_job: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_job(tmp_path, canary=2)
    assert run_job(faults=["answer-then-drop:2"]).outcomes == {"succeeded": 20}
    assert len(answered(tmp_path / "api")) == 4
    monkeypatch.chdir(tmp_path)
    assert diagnose_state().findings == []
    write_job(tmp_path, canary=2, reuse=False)
    with pytest.raises(CanaryFailed, match="2 of 2 rows"):
        run_job(faults=["answer-then-drop:99"], new=True)
    assert len(answered(tmp_path / "api")) == 4 + 2 * 3


def test_a_canary_of_all_rows_leaves_nothing_to_stop(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=2, canary=5, retry={"attempts": 1})
    assert run_job(mix=lambda _: "invalid").outcomes == {"invalid": 2}
    assert accepted(tmp_path / "api") == 0


def test_run_killed_after_its_canary_resumes(tmp_path: Path) -> None:
    write_job(tmp_path, canary=2)
    process: Any = None

    def on(moment: str) -> None:
        if moment == "create":
            kill(process.pid)

    with simulator(tmp_path / "api", on=on) as environ:
        process = start(tmp_path, environ, *RUN)
        assert end(tmp_path, process).returncode == -9
    assert len(answered(tmp_path / "api")) == 2
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
    assert len(answered(tmp_path / "api")) == 2
