"""Whole runs on machines that come and go: only the database, and the files in an object store, are kept."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

from runner.files.object_store import ObjectStore
from runner.runs.events import RunEvent
from runner.store.open_store import open_store
from runner.store.place import StatePlace
from tests.support import ROOT
from tests.support.outputs import outputs, records
from tests.support.projects import BATCHES, EACH_ONCE, run_shared, write_job
from tests.support.simulator import accepted, answered, end_batches, paid, simulator

KILLED = """
import os, re, sqlite3, sys
from pathlib import Path
from tests.support.projects import run_shared

folder, files_url, after, at = sys.argv[1:]
connected, seen = sqlite3.connect, []

def watch(statement):
    seen.append(statement)
    if re.match(at, statement) and any(re.match(after, one) for one in seen):
        os.kill(os.getpid(), 9)

def connect(*args, **named):
    connection = connected(*args, **named)
    connection.set_trace_callback(watch)
    return connection

# The process is the test's own: what it is made to call is a function of Python.
sqlite3.connect = connect
run_shared(Path(folder), files_url)
"""
"""A run that is killed just before the first statement like `at` that follows one like `after`."""

SUBMITTING = "UPDATE batch SET state = 'submitting'"


def killed(root: Path, files_url: str, after: str, at: str) -> int:
    """Run the job in a process that is killed; return its exit code."""
    words = [sys.executable, "-c", KILLED, str(root), files_url, after, at]
    return subprocess.run(words, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}).returncode


def copy_database(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Serve the API to this process."""

    @contextmanager
    def served(**settings: Any) -> Iterator[None]:
        with simulator(tmp_path / "api", **settings) as environ:
            for name in ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"):
                monkeypatch.setenv(name, environ[name])
            yield

    return served


def expected(root: Path, files_url: str) -> dict[str, str]:
    """The outputs of an undisturbed run of the job, in a folder of its own."""
    shutil.copytree(root, root / "other", ignore=shutil.ignore_patterns(".runner", "api", "out", "bucket"))
    run_shared(root / "other", f"{files_url}-other")
    found = outputs(root / "other")
    shutil.rmtree(root / "other")
    return found


def lose_machine(root: Path) -> None:
    """Delete all that is on the machine but the database and the project."""
    shutil.rmtree(root / ".runner" / "runs")


def stored(files_url: str) -> Counter[str]:
    """Count the files of runs by their kind."""
    return Counter(name.rpartition(".")[2] for name in ObjectStore(files_url).list_files("runs"))


def test_run_goes_on_on_another_machine(tmp_path: Path, files_url: str, serve: Callable[..., Any]) -> None:
    mix = lambda id: "errored" if id.endswith("-1-1-4") else "succeeded"  # noqa: E731
    write_job(tmp_path)
    with serve(seconds=600, mix=mix):
        assert run_shared(tmp_path, files_url, wait=False).state == "running"
    for _ in range(2):
        end_batches(tmp_path / "api")
        lose_machine(tmp_path)
        with serve(seconds=600, mix=mix):
            summary = run_shared(tmp_path, files_url, wait=False)
    assert summary.state == "finished" and paid(tmp_path / "api") == {**EACH_ONCE, ("2", 4): 1}
    # One batch for the row that was sent again.
    assert accepted(tmp_path / "api") == BATCHES + 1 == stored(files_url)["sent"]
    with serve(mix=mix):
        assert outputs(tmp_path) == expected(tmp_path, files_url)


@pytest.mark.parametrize(
    ("after", "at"),
    [
        ("INSERT INTO batch", "COMMIT"),
        ("UPDATE run SET state = 'prepared'", "COMMIT"),
        ("", SUBMITTING),
        ("", "UPDATE batch SET state = 'submitted'"),
        ("UPDATE batch SET state = 'collected'", "COMMIT"),
    ],
    ids=["body", "prepared", "intent", "answer", "results"],
)
def test_machine_that_dies_leaves_a_run_that_goes_on(
    tmp_path: Path, files_url: str, serve: Callable[..., Any], after: str, at: str
) -> None:
    write_job(tmp_path)
    with serve():
        assert killed(tmp_path, files_url, after, at) == -9
        lose_machine(tmp_path)
        assert run_shared(tmp_path, files_url).state == "finished"
        assert accepted(tmp_path / "api") == BATCHES and paid(tmp_path / "api") == EACH_ONCE
        assert outputs(tmp_path) == expected(tmp_path, files_url)


def test_intent_is_stored_before_a_create(tmp_path: Path, files_url: str, serve: Callable[..., Any]) -> None:
    write_job(tmp_path)
    found = list[Counter[str]]()
    with serve(on=lambda stage: found.append(stored(files_url)) if stage == "created" else None):
        run_shared(tmp_path, files_url)
    assert [one["sent"] for one in found] == [1, 2, 3]
    # The bodies of all batches and the snapshot are there since the run was prepared.
    assert [one["json"] for one in found] == [BATCHES + 1] * 3


def test_lost_intent_is_searched_before_a_create(
    tmp_path: Path, files_url: str, serve: Callable[..., Any]
) -> None:
    write_job(tmp_path)
    database, before = tmp_path / ".runner" / "state.db", tmp_path / "before.db"
    with serve(seconds=600):
        assert killed(tmp_path, files_url, "", "UPDATE run SET started_at") == -9
        copy_database(database, before)
        run_shared(tmp_path, files_url, wait=False)
    assert accepted(tmp_path / "api") == BATCHES
    # The database fails over to a copy that lags behind.
    copy_database(before, database)
    lose_machine(tmp_path)
    end_batches(tmp_path / "api")
    with serve():
        assert run_shared(tmp_path, files_url).state == "finished"
    assert accepted(tmp_path / "api") == BATCHES and paid(tmp_path / "api") == EACH_ONCE


def test_intent_of_another_process_is_searched_first(
    tmp_path: Path, files_url: str, serve: Callable[..., Any]
) -> None:
    write_job(tmp_path)
    objects, events, created = ObjectStore(files_url), list[RunEvent](), list[str]()

    def on(stage: str) -> None:
        if stage == "created" and not created:
            [mark] = (name for name in objects.list_files("runs") if name.endswith("1-1.sent"))
            objects.download(f"runs/{mark}", tmp_path / "mark")
            objects.create(f"runs/{mark.replace('1-1', '1-2')}", (tmp_path / "mark").read_bytes())
            created.append(mark)

    with serve(on=on):
        assert run_shared(tmp_path, files_url, report=events.append).state == "finished"
    [searched] = (one for one in events if "may have been sent before" in one.message)
    assert (searched.name, searched.round, searched.batch) == ("searching", 1, 2)
    assert accepted(tmp_path / "api") == BATCHES and paid(tmp_path / "api") == EACH_ONCE


def count_noted(files_url: str, target: Path) -> int:
    """Count the rows in the journals of the object store."""
    objects, count = ObjectStore(files_url), 0
    for name in objects.list_files("runs"):
        if name.endswith(".noted"):
            objects.download(f"runs/{name}", target)
            count += len(target.read_text().splitlines())
    return count


def test_requests_are_noted_before_they_are_sent(
    tmp_path: Path, files_url: str, serve: Callable[..., Any]
) -> None:
    write_job(tmp_path, rows=6, mode="sync", sync={"concurrency": 2})
    noted, lock = list[int](), Lock()

    def on(stage: str) -> None:
        if stage == "answered":
            with lock:
                noted.append(count_noted(files_url, tmp_path / "noted"))

    with serve(on=on):
        assert run_shared(tmp_path, files_url).state == "finished"
    assert len(noted) == 6 and all(count >= number for number, count in enumerate(noted, 1))


def test_answers_survive_the_machine(tmp_path: Path, files_url: str, serve: Callable[..., Any]) -> None:
    write_job(tmp_path, rows=6, mode="sync", sync={"concurrency": 1}, retry={"attempts": 1})
    with serve():
        # Before the answers are recorded as a whole.
        assert killed(tmp_path, files_url, "", "UPDATE batch SET state = 'ended'") == -9
        lose_machine(tmp_path)
        assert run_shared(tmp_path, files_url).state == "finished"
    assert len(answered(tmp_path / "api")) == 6
    assert {one["outcome"] for one in records(tmp_path / "out" / "all.jsonl")} == {"succeeded"}


def test_finished_run_is_read_and_purged_elsewhere(
    tmp_path: Path, files_url: str, serve: Callable[..., Any]
) -> None:
    write_job(tmp_path)
    with serve():
        run_shared(tmp_path, files_url)
        before = outputs(tmp_path)
        lose_machine(tmp_path)
        shutil.rmtree(tmp_path / "out")
        run_shared(tmp_path, files_url)
    assert outputs(tmp_path) == before and accepted(tmp_path / "api") == BATCHES
    lose_machine(tmp_path)
    with open_store(StatePlace(tmp_path / ".runner", files=files_url)) as store:
        store.purge_run(store.runs()[0])
    assert stored(files_url) == {"json": 1}
