"""Runs in processes of their own take turns to send while the API's queue is full."""

import json
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.follow.shared_queue import BATCHES_AT_ONCE, Shared, shared_queue, wait_for
from tests.support.outputs import records
from tests.support.processes import RUN, command, end, kill, start
from tests.support.projects import SPEC, write_job
from tests.support.simulator import paid, sent_to, two_accounts

pytestmark = pytest.mark.slow

POLL_SECONDS = 3.0
"""Of runs that wait. Others go on without a run after three times as long, and some seconds."""


@pytest.fixture
def shared(tmp_path: Path, postgres_url: str) -> Iterator[Shared]:
    """Runs on several machines; a batch ends once the test lets it."""
    with shared_queue(tmp_path, postgres_url, seconds=1000.0) as found:
        yield found


def fill(shared: Shared, batches: int) -> tuple[Path, Any]:
    """A big run that has filled the queue, and whose refused create is not tried again for its time alone."""
    folder = shared.write("big", batches)
    process = shared.fill(folder)
    shared.query("UPDATE queue SET until = until + 3600")
    return folder, process


def begin_waiting(shared: Shared, name: str, batches: int, poll_seconds: float = POLL_SECONDS) -> tuple[Path, Any]:
    """A run that waits because the queue is full."""
    folder = shared.write(name, batches, poll_seconds=poll_seconds)
    process = shared.start(folder)
    wait_for(lambda: "waiting: the queue is full" in (folder / "stderr").read_text())
    return folder, process


def let_end(shared: Shared) -> None:
    """End a batch, and wait until another one is accepted in its place."""
    before = len(shared.batches())
    shared.end_next()
    wait_for(lambda: len(shared.batches()) > before)


def finish(shared: Shared, folder: Path, process: Any) -> None:
    """End all batches until a run has ended, which must succeed."""
    while process.is_alive():
        shared.end_next()
        time.sleep(0.05)
    ended = end(folder, process)
    assert ended.returncode == 0, ended.stderr
    rows = records(folder / "out/all.jsonl")
    assert len(rows) == len({row["key"] for row in rows}) == sum(row["outcome"] == "succeeded" for row in rows)


@pytest.mark.server
def test_small_run_is_not_kept_out_by_a_big_one(shared: Shared) -> None:
    big = fill(shared, 9)
    small = begin_waiting(shared, "small", 2)
    for _ in range(2):
        let_end(shared)
    assert shared.senders() == ["big"] * BATCHES_AT_ONCE + ["small"] * 2
    assert "and run" in (big[0] / "stderr").read_text()
    for run in (small, big):
        finish(shared, *run)
    assert (shared.refused, set(paid(shared.root / "api").values())) == (1, {1, 2})


@pytest.mark.server
def test_four_runs_share_the_queue(shared: Shared) -> None:
    runs = [fill(shared, 10), *(begin_waiting(shared, f"small{number}", 3) for number in range(3))]
    while len(shared.batches()) < 19:
        let_end(shared)
    for run in runs:
        finish(shared, *run)
    senders = shared.senders()
    assert [senders.count(name) for name in ("big", "small0", "small1", "small2")] == [10, 3, 3, 3]
    assert "big" not in senders[BATCHES_AT_ONCE : BATCHES_AT_ONCE + 3]
    # Each of four runs has a quarter of the queue.
    assert senders[: BATCHES_AT_ONCE + 4 * 3].count("big") <= BATCHES_AT_ONCE + 3
    assert shared.refused == 1


@pytest.mark.server
def test_killed_run_keeps_nobody_out(shared: Shared) -> None:
    big = fill(shared, 6)
    folder, process = begin_waiting(shared, "small", 2, poll_seconds=0.2)
    kill(process.pid)
    process.join()
    let_end(shared)
    assert shared.senders() == ["big"] * (BATCHES_AT_ONCE + 1)
    finish(shared, *big)
    finish(shared, folder, shared.start(folder, "--wait-lock", "10m"))


@pytest.mark.server
def test_stopped_run_keeps_nobody_out(shared: Shared) -> None:
    big = fill(shared, 6)
    # Without a word, others would go on without it after three minutes.
    folder, process = begin_waiting(shared, "small", 2, poll_seconds=100.0)
    process.terminate()
    assert end(folder, process).returncode == 128 + signal.SIGTERM
    let_end(shared)
    assert shared.senders() == ["big"] * (BATCHES_AT_ONCE + 1)
    finish(shared, *big)


def write_folder(root: Path) -> None:
    """A project of two specs; a refused create is tried again after five minutes."""
    for name in ("second", "first"):
        batch = {**SPEC["batch"], "max_requests": 1, "poll_seconds": 60}
        path = write_job(root, name=name, rows=5, batch=batch, reuse=False)
        path.rename(root / f"{name}.yaml")


def test_next_command_knows_that_the_queue_is_full(tmp_path: Path) -> None:
    write_folder(tmp_path)
    with shared_queue(tmp_path, seconds=1000.0) as shared:
        for name in ("first", "second", "first"):
            ended = command(tmp_path, shared.environ, "run", f"{name}.yaml", "--yes", "--no-wait")
            assert ended.returncode == 4, ended.stderr
            assert shared.refused == 1
        assert "waiting: the queue is full with 4 requests of this state" in ended.stderr
        status = command(tmp_path, shared.environ, "status", "--json").stdout.splitlines()
        second, first = (json.loads(line) for line in status)
        [queue] = first["queues"]
        assert (queue["requests"], queue["runs"], second["queues"]) == (4, {first["run"]: 4}, [])
        assert 0 < queue["next_try"] - time.time() <= 300
        shown = command(tmp_path, shared.environ, "status").stdout
        assert f"queue: full with 4 requests: 4 of run {first['run']}; next try in " in shown
        for _ in range(4):
            shared.ahead += 2000.0
            both = ("run", "first.yaml", "second.yaml", "--yes", "--no-wait")
            ended = command(tmp_path, shared.environ, *both)
        assert ended.returncode == 0, ended.stderr
        assert (len(shared.batches()), shared.refused) == (10, 1)


def test_killed_run_leaves_what_it_learned(tmp_path: Path) -> None:
    write_folder(tmp_path)
    (tmp_path / "first.yaml").rename(tmp_path / "job.yaml")
    with shared_queue(tmp_path, seconds=1000.0) as shared:
        process = shared.fill(tmp_path)
        kill(process.pid)
        process.join()
        ended = command(tmp_path, shared.environ, *RUN, "--no-wait")
        assert (ended.returncode, shared.creates, shared.refused) == (4, 5, 1)


def test_run_that_polls_each_hour_looks_each_minute(tmp_path: Path) -> None:
    with shared_queue(tmp_path, seconds=1000.0) as shared:
        folder = shared.write("job", 6, poll_seconds=3600)
        process = shared.fill(folder)
        try:
            wait_for(lambda: bool(read_waiting(folder)))
            [(until,)] = read_waiting(folder)
            shown = command(folder, shared.environ, "status").stdout
        finally:
            kill(process.pid)
            process.join()
    # Others would go on without it after three looks and five seconds.
    assert until - time.time() <= 3 * 60 + 5
    run = shown.split(" of run ")[1][:13]
    assert f"queue: full with 4 requests: 4 of run {run}; run {run} waits for room; next try in " in shown


def test_run_that_sends_no_more_waits_in_no_line(tmp_path: Path) -> None:
    # Batches of 4, 3, 4 and 1 requests: the last one fits only once one of the others has ended.
    write_job(tmp_path, rows=12, batch={**SPEC["batch"], "max_requests": 4, "poll_seconds": 1})
    ahead, full = [0.0], (["max-queue:4"], ["max-queue:7"])
    with two_accounts(tmp_path, *full, seconds=1000.0, clock=lambda: time.time() + ahead[0]) as environ:
        process = start(tmp_path, environ, *RUN)
        try:
            wait_for(lambda: sent_to(tmp_path) == (1, 2) and len(read_waiting(tmp_path)) == 2)
            paths = (tmp_path / "api").glob("*/msgbatch_*.json")
            ahead[0] = min(json.loads(path.read_text())["ends_at"] for path in paths) - time.time() + 0.001
            wait_for(lambda: sum(sent_to(tmp_path)) == 4)
            wait_for(lambda: not read_waiting(tmp_path))
        finally:
            kill(process.pid)
            process.join()


def read_waiting(folder: Path) -> list[tuple[float]]:
    """Until when others wait for each run, as the state of a folder has it."""
    with closing(sqlite3.connect(folder / ".runner/state.db")) as database:
        return database.execute("SELECT until FROM queue_wait").fetchall()


def test_batch_larger_than_the_queue_is_named_with_the_remedy(tmp_path: Path) -> None:
    write_job(tmp_path / "large", rows=10, batch={**SPEC["batch"], "max_requests": 10})
    with shared_queue(tmp_path, seconds=1000.0) as shared:
        process = shared.start(tmp_path / "large")
        try:
            wait_for(lambda: shared.refused >= 4)
        finally:
            kill(process.pid)
            process.join()
        said = (tmp_path / "large/stderr").read_text()
    assert said.count("requests in one batch are more than it takes. Set batch.max_requests to less than") == 1


def test_run_that_waits_for_room_is_followed_last(tmp_path: Path) -> None:
    for name, size in (("large", 10), ("small", 1)):
        batch = {**SPEC["batch"], "max_requests": size, "poll_seconds": 0.2}
        sinks = [{"type": "jsonl", "path": f"out/{name}.jsonl"}]
        write_job(tmp_path, name=name, rows=10, batch=batch, reuse=False, sinks=sinks)
        (tmp_path / "job.yaml").rename(tmp_path / f"{name}.yaml")
    with shared_queue(tmp_path, seconds=0.2) as shared:
        process = start(tmp_path, shared.environ, "run", "large.yaml", "small.yaml", "--yes")
        try:
            wait_for(lambda: "small: run" in (read := (tmp_path / "stderr").read_text()) and ": finished" in read)
        finally:
            kill(process.pid)
            process.join()
    assert "large: batch 1: HTTP 429" in (tmp_path / "stderr").read_text()
