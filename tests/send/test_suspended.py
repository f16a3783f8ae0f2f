"""A process that is suspended during a create sends nothing more once another one has taken over."""

import os
import signal
from pathlib import Path

import pytest

from runner.errors import NotAccepted, StateLocked
from runner.store.lock import SendGuard, guard_sending, lock_folder, read_clock
from tests.support.outputs import records
from tests.support.processes import RUN, command, end, start_suspended
from tests.support.projects import BATCHES, EACH_ONCE, write_job
from tests.support.simulator import accepted, paid, simulator

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("number", range(1, BATCHES + 1))
def test_process_that_lost_its_lock_sends_nothing(tmp_path: Path, number: int) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api") as environ:
        process = start_suspended(tmp_path, environ, f"1-{number}.json")
        # On a network file system, another machine gets the lock of a process that does not answer.
        (tmp_path / ".runner" / "lock").unlink()
        assert command(tmp_path, environ, *RUN).returncode == 0
        os.kill(process.pid, signal.SIGCONT)
        ended = end(tmp_path / "worker", process)
        assert (ended.returncode, "has taken over" in ended.stderr) == (6, True), ended.stderr
        assert command(tmp_path, environ, "doctor", "--remote").returncode == 0
    assert (paid(tmp_path / "api"), accepted(tmp_path / "api")) == (EACH_ONCE, BATCHES)
    assert [one["outcome"] for one in records(tmp_path / "out/all.jsonl")] == ["succeeded"] * 20


def test_process_that_kept_its_lock_sends_on(tmp_path: Path) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api") as environ:
        process = start_suspended(tmp_path, environ, "1-2.json")
        assert command(tmp_path, environ, *RUN).returncode == 6
        os.kill(process.pid, signal.SIGCONT)
        assert end(tmp_path / "worker", process).returncode == 0
    assert paid(tmp_path / "api") == EACH_ONCE
    assert [one["outcome"] for one in records(tmp_path / "out/all.jsonl")] == ["succeeded"] * 20


def test_lock_is_lost_with_its_file_or_to_another_holder(tmp_path: Path) -> None:
    with lock_folder(tmp_path) as lock:
        lock.check()
        name = (tmp_path / "holder").read_text()
        (tmp_path / "holder").write_text("another")
        with pytest.raises(StateLocked, match="has taken over"):
            lock.check()
        (tmp_path / "holder").write_text(name)
        guard_sending(lock).confirm()
        (tmp_path / "lock").unlink()
        with pytest.raises(StateLocked, match="has taken over"):
            guard_sending(lock).confirm()


def test_body_that_stood_still_is_cut_short(tmp_path: Path) -> None:
    with lock_folder(tmp_path) as lock:
        SendGuard(lock, read_clock() - 59).confirm()
        with pytest.raises(NotAccepted, match="stood still for 61 s"):
            SendGuard(lock, read_clock() - 61).confirm()
