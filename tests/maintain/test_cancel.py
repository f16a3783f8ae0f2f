"""Canceling a run: finished batches are collected, and nothing more is sent."""

from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from runner import Summary
from runner.lifecycle.maintain.cancel import cancel_run
from runner.simulator.responses import ErrorResponse
from tests.support.outputs import records
from tests.support.simulator import accepted, fail_at, simulator


def test_failed_cancel_is_repeated(
    tmp_path: Path, run_job: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_job(wait=False, seconds=20)
    monkeypatch.chdir(tmp_path)
    with simulator(tmp_path / "api", seconds=20, on=fail_at("cancel", ErrorResponse(529, "busy"))):
        _, left = cancel_run("job.yaml")
    moments: list[str] = []
    run_job(wait=False, on=moments.append, seconds=20)
    assert (len(left), moments.count("cancel")) == (1, 1)


def test_canceled_run_collects_finished_batches(
    tmp_path: Path, run_job: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_job(wait=False, seconds=5, on=fail_at("create", ErrorResponse(429, "full"), times=0))
    monkeypatch.chdir(tmp_path)
    with simulator(tmp_path / "api") as environ:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", environ["ANTHROPIC_BASE_URL"])
        assert cancel_run(first.run)[0].summary.run == first.run
    done = run_job()
    assert (done.run, done.outcomes) == (first.run, {"canceled": 20})
    assert records(tmp_path / "out" / "all.jsonl")[0]["error"]["type"] == "canceled"


def test_unsent_batches_are_never_sent_after_a_cancel(
    tmp_path: Path, run_job: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = Event()
    first = run_job(on=lambda name: stop.set() if name == "created" else None, stop=stop)
    monkeypatch.chdir(tmp_path)
    with simulator(tmp_path / "api") as environ:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", environ["ANTHROPIC_BASE_URL"])
        cancel_run(first.run)
    assert run_job().outcomes["canceled"] >= 12
    assert accepted(tmp_path / "api") == 1
