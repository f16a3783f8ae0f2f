"""A run that is killed anywhere and started again ends as an undisturbed one."""

import os
from functools import partial
from pathlib import Path

import pytest

from runner.simulator.responses import DropConnection, ErrorResponse
from tests.support.outputs import outputs, records
from tests.support.processes import RUN, command, end, kill, killed_at_rename, start
from tests.support.projects import BATCHES, ROWS, write_job
from tests.support.simulator import accepted, paid, simulator

pytestmark = pytest.mark.slow

CASES: dict[str, tuple[str, Exception | None]] = {
    "the answer to a create is dropped": ("created", DropConnection()),
    "504 after a batch was accepted": ("created", ErrorResponse(504, "Gateway timeout")),
    "killed during a create": ("created", None),
    "killed while polling": ("retrieve", None),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("time", range(1, BATCHES + 1))
def test_lost_or_killed_call_is_paid_once_and_finishes(
    tmp_path: Path, undisturbed: dict[str, str], case: str, time: int
) -> None:
    # With the settings that a spec has by itself: grace of 15 minutes.
    moment, error = CASES[case]
    seen: list[str] = []

    def on(name: str) -> None:
        seen.append(name)
        if name == moment and seen.count(moment) == time:
            if error is None:
                kill(process.pid)
                raise DropConnection
            raise error

    write_job(tmp_path, rows=ROWS, batch={"max_requests": 8, "poll_seconds": 0.1})
    with simulator(tmp_path / "api", on=on) as environ:
        process = start(tmp_path, environ, *RUN)
        ended = end(tmp_path, process)
        assert ended.returncode == (0 if error else -9)
        assert command(tmp_path, environ, *RUN).returncode == 0
    assert paid(tmp_path / "api") == {("1", row): 1 for row in range(1, ROWS + 1)}
    assert (accepted(tmp_path / "api"), outputs(tmp_path)) == (BATCHES, undisturbed)


@pytest.mark.parametrize("moment", ["create", "created", "retrieve", "results", "results-half"])
@pytest.mark.parametrize("time", [1, BATCHES])
def test_run_killed_during_a_call_resumes(
    tmp_path: Path, undisturbed: dict[str, str], moment: str, time: int
) -> None:
    pid: list[int] = []
    seen = []

    def on(name: str) -> None:
        seen.append(name)
        if seen.count(moment) == time and name == moment:
            kill(pid[0])
            raise DropConnection

    write_job(tmp_path, rows=ROWS)
    with simulator(tmp_path / "api", on=on) as environ:
        process = start(tmp_path, environ, *RUN)
        pid.append(process.pid)
        assert end(tmp_path, process).returncode == -9
        again = command(tmp_path, environ, *RUN)
    assert again.returncode == 0, again.stderr
    assert accepted(tmp_path / "api") == BATCHES
    assert outputs(tmp_path) == undisturbed


@pytest.mark.parametrize("name", ["all.jsonl", "labels.csv", "spec.json", "rows.jsonl", "1-2.jsonl"])
def test_run_killed_before_a_rename_resumes(tmp_path: Path, undisturbed: dict[str, str], name: str) -> None:
    write_job(tmp_path, rows=ROWS)
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN, before=partial(killed_at_rename, name)).returncode == -9
        assert command(tmp_path, environ, *RUN).returncode == 0
    assert accepted(tmp_path / "api") == BATCHES
    assert outputs(tmp_path) == undisturbed


def test_killed_simulated_run_resumes(tmp_path: Path) -> None:
    write_job(tmp_path, rows=ROWS)
    simulate = ("run", "job.yaml", "--simulate")
    assert command(tmp_path, os.environ, *simulate, before=partial(killed_at_rename, "1-1.jsonl")).returncode == -9
    assert command(tmp_path, os.environ, *simulate).returncode == 0
    assert accepted(tmp_path / "simulated/.runner/simulator") == BATCHES
    assert len(records(tmp_path / "simulated/out/all.jsonl")) == ROWS
