"""Several commands at once on one project: one works, the others say so and leave it alone."""

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tests.support.outputs import outputs, records
from tests.support.processes import RUN, Ended, command, end, kill, start
from tests.support.projects import EACH_ONCE, write_job
from tests.support.simulator import paid, simulator

pytestmark = pytest.mark.slow

KEPT_OUT = (
    RUN,
    (*RUN, "--new"),
    ("cancel", "job.yaml"),
    ("reconcile", "job.yaml"),
    ("recover", "job.yaml"),
    ("doctor",),
)


class Gate:
    """Holds every call of one kind to the simulator until it is opened."""

    def __init__(self, moment: str) -> None:
        self.moment = moment
        self.reached, self.opened = Event(), Event()

    def on(self, name: str) -> None:
        if name == self.moment:
            self.reached.set()
            assert self.opened.wait(60)


@contextmanager
def working(root: Path, moment: str) -> Iterator[tuple[Gate, dict[str, str], Any]]:
    """A run that is held in a call; its output is in a folder of its own, and it is killed in the end."""
    write_job(root)
    gate = Gate(moment)
    with simulator(root / "api", on=gate.on) as environ:
        process = begin(root, environ, "worker")
        try:
            assert gate.reached.wait(60)
            yield gate, environ, process
        finally:
            gate.opened.set()
            process.kill()
            process.join()


def begin(root: Path, environ: dict[str, str], name: str) -> Any:
    """Start a run whose stdout and stderr do not overwrite those of another."""
    (root / name).mkdir()
    return start(root / name, environ, "run", "../job.yaml", "--yes")


def is_kept_out(ended: Ended, root: Path, *, can_wait: bool = True) -> bool:
    holder = rf"process \d+ on \S+, since {datetime.now(UTC):%Y}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
    line = rf"error: another runner is using {root}/.runner \({holder}\): wait until it finishes, or stop it"
    line += ", or wait for it with `--wait-lock 10m`\n" if can_wait else "\n"
    return ended.returncode == 6 and re.fullmatch(line, ended.stderr) is not None


def is_whole(root: Path, undisturbed: dict[str, str]) -> bool:
    return paid(root / "api") == EACH_ONCE and outputs(root) == undisturbed


@pytest.mark.parametrize("count", [2, 4])
def test_only_one_of_simultaneous_runs_works(tmp_path: Path, undisturbed: dict[str, str], count: int) -> None:
    write_job(tmp_path)
    gate = Gate("create")
    with simulator(tmp_path / "api", on=gate.on) as environ:
        processes = {name: begin(tmp_path, environ, name) for name in map(str, range(count))}
        until = time.monotonic() + 60
        while sum(process.is_alive() for process in processes.values()) > 1 and time.monotonic() < until:
            time.sleep(0.05)
        gate.opened.set()
        all_ended = [end(tmp_path / name, process) for name, process in processes.items()]
    assert sorted(ended.returncode for ended in all_ended) == [0, *[6] * (count - 1)]
    assert sum(is_kept_out(ended, tmp_path) for ended in all_ended) == count - 1
    assert is_whole(tmp_path, undisturbed)


@pytest.mark.parametrize("count", [2, 4])
def test_only_one_of_simultaneous_resumes_works(tmp_path: Path, undisturbed: dict[str, str], count: int) -> None:
    with working(tmp_path, "results") as (gate, environ, process):
        kill(process.pid)
        process.join()
        gate.opened.set()
        names = [f"process-{number}" for number in range(count)]
        processes = [begin(tmp_path, environ, name) for name in names]
        all_ended = [end(tmp_path / name, process) for name, process in zip(names, processes, strict=True)]
    # What is left to do is short: one that starts late may find it done, and writes the outputs again.
    assert {ended.returncode for ended in all_ended} <= {0, 6}
    assert any(ended.returncode == 0 for ended in all_ended)
    assert all(is_kept_out(ended, tmp_path) for ended in all_ended if ended.returncode == 6)
    assert is_whole(tmp_path, undisturbed)


@pytest.mark.parametrize("moment", ["create", "created", "retrieve", "results"])
def test_other_runs_are_locked_out_until_the_worker_is_killed(
    tmp_path: Path, undisturbed: dict[str, str], moment: str
) -> None:
    with working(tmp_path, moment) as (gate, environ, process):
        began = time.monotonic()
        assert is_kept_out(command(tmp_path, environ, *RUN), tmp_path)
        assert time.monotonic() - began < 10
        kill(process.pid)
        process.join()
        gate.opened.set()
        ended = command(tmp_path, environ, *RUN)
    assert ended.returncode == 0, ended.stderr
    assert is_whole(tmp_path, undisturbed)


@pytest.mark.parametrize("moment", ["created", "results"])
def test_suspended_worker_keeps_its_lock_and_continues(
    tmp_path: Path, undisturbed: dict[str, str], moment: str
) -> None:
    with working(tmp_path, moment) as (gate, environ, process):
        os.kill(process.pid, signal.SIGSTOP)
        gate.opened.set()
        for words in KEPT_OUT:
            assert is_kept_out(command(tmp_path, environ, *words), tmp_path, can_wait=words[0] == "run"), words
        os.kill(process.pid, signal.SIGCONT)
        assert end(tmp_path / "worker", process).returncode == 0
    assert is_whole(tmp_path, undisturbed)


def test_status_works_during_a_run(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    with working(tmp_path, "retrieve") as (gate, environ, process):
        shown = command(tmp_path, environ, "status", "job.yaml", "--json")
        assert (shown.returncode, shown.stderr) == (0, "")
        [summary] = records(tmp_path / "stdout")
        assert (summary["state"], summary["rows"], summary["outcomes"]) == ("running", 20, {})
        assert {batch["state"] for batch in summary["batches"]} == {"submitted"}
        os.kill(process.pid, signal.SIGSTOP)
        assert "running" in command(tmp_path, environ, "status").stdout
        os.kill(process.pid, signal.SIGCONT)
        gate.opened.set()
        assert end(tmp_path / "worker", process).returncode == 0
        assert '"finished"' in command(tmp_path, environ, "status", "--json").stdout
    assert is_whole(tmp_path, undisturbed)


def test_state_changing_commands_are_locked_out_during_a_run(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    with working(tmp_path, "create") as (gate, environ, process):
        for words in KEPT_OUT:
            assert is_kept_out(command(tmp_path, environ, *words), tmp_path, can_wait=words[0] == "run"), words
        gate.opened.set()
        assert end(tmp_path / "worker", process).returncode == 0
    assert is_whole(tmp_path, undisturbed)


def test_finished_run_is_not_purged_during_another_run(tmp_path: Path) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
    [first] = [path.name for path in (tmp_path / ".runner" / "runs").iterdir()]
    gate = Gate("create")
    write_job(tmp_path, reuse=False)
    with simulator(tmp_path / "api", on=gate.on) as environ:
        (tmp_path / "worker").mkdir()
        process = start(tmp_path / "worker", environ, "run", "../job.yaml", "--yes", "--new")
        assert gate.reached.wait(60)
        ended = command(tmp_path, environ, "purge", first, "--yes")
        assert is_kept_out(ended, tmp_path, can_wait=False)
        assert (tmp_path / ".runner" / "runs" / first / "rows.jsonl").exists()
        gate.opened.set()
        assert end(tmp_path / "worker", process).returncode == 0
        purged = command(tmp_path, environ, "purge", first, "--yes")
    assert (purged.returncode, purged.stdout) == (0, f"run {first} was purged\n")


def test_simulated_run_does_not_lock_out_a_real_run(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    with working(tmp_path, "create") as (gate, environ, process):
        assert command(tmp_path, environ, "run", "job.yaml", "--simulate").returncode == 0
        gate.opened.set()
        assert end(tmp_path / "worker", process).returncode == 0
    assert is_whole(tmp_path, undisturbed)
    assert outputs(tmp_path / "simulated") == undisturbed


def test_stale_lock_file_locks_nobody_out(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    write_job(tmp_path)
    (tmp_path / ".runner").mkdir()
    (tmp_path / ".runner" / "lock").write_text(f"{os.getpid()}\n")
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
    assert is_whole(tmp_path, undisturbed)
