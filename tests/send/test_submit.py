"""Creates: retried, stopped, and never sent to another workspace."""

from collections.abc import Callable
from pathlib import Path

import pytest

from runner import Summary
from runner.errors import AccessError, RequestRejected, StateError
from runner.simulator.responses import DropConnection, ErrorResponse
from tests.support.projects import EACH_ONCE, SPEC, write_job
from tests.support.simulator import accepted, fail_at, paid


@pytest.mark.parametrize(
    "error", [ErrorResponse(429, "queue full", {"retry-after": "0.3"}), ErrorResponse(429, "slow down")]
)
def test_rate_limited_create_is_retried(tmp_path: Path, run_job: Callable[..., Summary], error: Exception) -> None:
    assert run_job(on=fail_at("create", error, times=2)).outcomes == {"succeeded": 20}
    assert accepted(tmp_path / "api") == 3


def test_a_retry_after_of_a_day_is_capped(run_job: Callable[..., Summary]) -> None:
    lines: list[str] = []
    error = ErrorResponse(429, "wait", {"retry-after": "86400"})
    summary = run_job(on=fail_at("create", error), wait=False, on_event=lambda one: lines.append(one.message))
    assert summary.state == "running"
    assert [line for line in lines if "trying again in 300 s" in line]


def test_modified_body_is_not_sent(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    with pytest.raises(AccessError):
        run_job(on=fail_at("create", ErrorResponse(401, "no")))
    [body] = (tmp_path / ".runner" / "runs").glob("*/bodies/1-2.json")
    body.write_bytes(body.read_bytes().replace(b"Label", b"Lobel"))
    with pytest.raises(StateError, match="was changed after it was written"):
        run_job()
    assert accepted(tmp_path / "api") == 1


@pytest.mark.parametrize("status", [401, 402, 403])
def test_rejected_key_stops_the_run_until_fixed(
    tmp_path: Path, run_job: Callable[..., Summary], status: int
) -> None:
    with pytest.raises(AccessError, match=f"HTTP {status}"):
        run_job(on=fail_at("retrieve", ErrorResponse(status, "no")))
    assert (run_job().outcomes, accepted(tmp_path / "api")) == ({"succeeded": 20}, 3)


def test_rejected_create_stops_the_run_and_loses_nothing(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    fail = fail_at("create", ErrorResponse(400, "bad"), times=99)
    sent: list[str] = []

    def on(name: str) -> None:
        sent.append(name)
        if sent.count("create") > 1:
            fail(name)

    with pytest.raises(RequestRejected, match=r"batch \d+ \(row 9\) was rejected by the API as a whole"):
        run_job(on=on)
    assert "results" in sent
    assert run_job().outcomes == {"succeeded": 20}
    assert set(paid(tmp_path / "api").values()) == {1}


@pytest.mark.parametrize("moment", ["created", "none"])
def test_run_never_resumes_in_another_workspace(
    tmp_path: Path, run_job: Callable[..., Summary], moment: str
) -> None:
    run_job(wait=False, on=fail_at(moment, DropConnection()))
    with pytest.raises(
        AccessError, match="workspace wrkspc_simulated, but the credentials belong to wrkspc_other"
    ):
        run_job(workspace="wrkspc_other")
    assert (run_job().outcomes, accepted(tmp_path / "api")) == ({"succeeded": 20}, 3)


@pytest.mark.parametrize("fault", ["refuse-529", "refuse-503"])
def test_refused_create_is_sent_again_after_one_look(
    tmp_path: Path, run_job: Callable[..., Summary], fault: str
) -> None:
    # The grace period of fifteen minutes is not waited for, and nobody is asked.
    write_job(tmp_path, batch={**SPEC["batch"], "grace_seconds": 900, "on_unknown": "stop"})
    assert run_job(faults=[f"{fault}:2"]).outcomes == {"succeeded": 20}
    assert paid(tmp_path / "api") == EACH_ONCE


def test_another_process_looks_for_a_refused_create(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, batch={**SPEC["batch"], "grace_seconds": 900, "on_unknown": "stop"})
    assert run_job(faults=["refuse-529"], wait=False).state == "running"
    assert run_job().outcomes == {"succeeded": 20}
    assert paid(tmp_path / "api") == EACH_ONCE


def test_refused_create_that_was_accepted_is_found(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, batch={**SPEC["batch"], "grace_seconds": 900, "on_unknown": "stop"})
    assert run_job(faults=["accept-then-529:3"]).outcomes == {"succeeded": 20}
    assert paid(tmp_path / "api") == EACH_ONCE


def test_create_without_an_answer_is_reported(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    lines: list[str] = []
    run_job(faults=["accept-then-drop:1"], on_event=lambda one: lines.append(one.message))
    [line] = [line for line in lines if "looking for it before anything is sent again" in line]
    assert "no answer from the API" in line
    assert paid(tmp_path / "api") == EACH_ONCE
