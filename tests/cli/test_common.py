"""Rules of every command: help, signals, and exit codes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from runner.simulator.responses import ErrorResponse
from tests.support.outputs import records
from tests.support.processes import RUN_SIMULATED, command, confined, end, no_privileges, start
from tests.support.projects import write_job
from tests.support.servers import webhook
from tests.support.simulator import accepted, environ_without_key, simulator


def test_help_names_every_command() -> None:
    done = subprocess.run([sys.executable, "-m", "runner", "--help"], capture_output=True, text=True, check=True)
    for name in ("validate", "render", "run", "status", "cancel", "schema", "simulate", "completion"):
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_cleanly_and_cancels_nothing(tmp_path: Path, number: int, code: int) -> None:
    write_job(tmp_path)
    moments: list[str] = []
    with simulator(tmp_path / "api", seconds=3, on=moments.append) as environ:
        process = start(tmp_path, environ, "run", "job.yaml", "--yes")
        while "retrieve" not in moments:
            time.sleep(0.05)
        os.kill(process.pid, number)
        done = end(tmp_path, process)
        assert (done.returncode, "nothing was canceled" in done.stderr) == (code, True)
        assert command(tmp_path, environ, "run", "job.yaml").returncode == 0
    assert (accepted(tmp_path / "api"), "cancel" in moments) == (3, False)
    assert len(records(tmp_path / "out" / "all.jsonl")) == 20


@contextmanager
def beside_a_run(root: Path) -> Iterator[dict[str, str]]:
    """Yield the environment while a run waits for its batches; it ends with 0, and sends each batch once."""
    write_job(root)
    moments: list[str] = []
    with simulator(root / "api", seconds=2, on=moments.append) as environ:
        first = start(root, environ, "run", "job.yaml", "--yes")
        while "created" not in moments:
            time.sleep(0.05)
        yield environ
        assert end(root, first).returncode == 0
    assert accepted(root / "api") == 3


def test_a_second_runner_exits_with_6(tmp_path: Path) -> None:
    with beside_a_run(tmp_path) as environ:
        second = command(tmp_path, environ, "run", "job.yaml", "--yes")
        assert (second.returncode, "another runner" in second.stderr) == (6, True)
        # Both write to one file.
        assert ": wait until it finishes, or stop it, or wait for it with `--wait-lock 10m`\n" in second.stderr
        canceled = command(tmp_path, environ, "cancel", "job.yaml")
        assert (canceled.returncode, "--wait-lock" in canceled.stderr) == (6, False)


def test_a_second_runner_can_wait_for_the_first(tmp_path: Path) -> None:
    with beside_a_run(tmp_path) as environ:
        early = command(tmp_path, environ, "run", "job.yaml", "--yes", "--wait-lock", "0.1s")
        second = command(tmp_path, environ, "run", "job.yaml", "--yes", "--wait-lock", "10m")
        assert (early.returncode, "or stop it\n" in early.stderr) == (6, True)
        assert (second.returncode, second.stderr.count(" UTC): waiting for it")) == (0, 1)


@contextmanager
def held(root: Path, **changes: Any) -> Iterator[dict[str, str]]:
    """Let another runner hold the state of a job until the end; yield the environment."""
    write_job(root, **changes)
    moments: list[str] = []
    with simulator(root / "api", seconds=600, on=moments.append) as environ:
        first = start(root, environ, "run", "job.yaml", "--yes")
        while "created" not in moments:
            time.sleep(0.05)
        yield environ
        os.kill(first.pid, signal.SIGTERM)
        end(root, first)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_wait_for_another_runner(tmp_path: Path, number: int, code: int) -> None:
    words = [sys.executable, "-m", "runner", "run", "job.yaml", "--yes", "--wait-lock", "10m"]
    with (
        held(tmp_path) as environ,
        subprocess.Popen(words, cwd=tmp_path, env=environ, stderr=subprocess.PIPE, text=True) as waiting,
    ):
        assert waiting.stderr is not None
        while "waiting for it" not in waiting.stderr.readline():
            pass
        waiting.send_signal(number)
        assert "nothing was sent" in waiting.stderr.read()
        assert waiting.wait() == code


def test_receivers_are_not_told_at_each_look_at_the_lock(tmp_path: Path) -> None:
    with webhook() as hook:
        hook.status = 500
        notify = [{"on": ["finished"], "url": hook.url}]
        write_job(tmp_path, notify=notify)
        with simulator(tmp_path / "api", seconds=0.2) as environ:
            assert command(tmp_path, environ, "run", "job.yaml", "--yes").returncode == 0
        with held(tmp_path, notify=notify, prompt={"user": "Again: {{ text }}"}) as environ:
            told = len(hook.got)
            waited = command(tmp_path, environ, "run", "job.yaml", "--yes", "--wait-lock", "5s")
        assert (waited.returncode, len(hook.got) - told) == (6, 2)


def test_rejected_key_exits_with_7(tmp_path: Path) -> None:
    write_job(tmp_path)

    def refuse(_: str) -> None:
        raise ErrorResponse(401, "invalid x-api-key")

    with simulator(tmp_path / "api", on=refuse) as environ:
        done = command(tmp_path, environ, "run", "job.yaml", "--yes")
    assert (done.returncode, "HTTP 401: invalid x-api-key" in done.stderr) == (7, True)


def test_state_of_a_newer_version_exits_with_8(tmp_path: Path) -> None:
    write_job(tmp_path)
    (tmp_path / "simulated" / ".runner").mkdir(parents=True)
    (tmp_path / "simulated" / ".runner" / "state.db").write_bytes(b"this is no database")
    done = command(tmp_path, environ_without_key(), *RUN_SIMULATED)
    assert (done.returncode, "state.db cannot be used: file is not a database" in done.stderr) == (8, True)


@pytest.mark.parametrize("words", [RUN_SIMULATED, ("init",)])
def test_folder_without_permission_is_named_with_a_remedy(tmp_path: Path, words: tuple[str, ...]) -> None:
    write_job(tmp_path)
    tmp_path.chmod(0o555)
    done = confined(tmp_path, environ_without_key(), *words, first=no_privileges)
    tmp_path.chmod(0o755)
    assert (done.returncode, "Traceback" in done.stderr) == (8, False)
    assert "Permission denied: use chmod or chown on it or its folder, or work in a folder" in done.stderr


def test_the_version_is_printed(tmp_path: Path) -> None:
    assert command(tmp_path, environ_without_key(), "--version").stdout.startswith("runner 0.")
