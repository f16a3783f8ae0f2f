"""Several processes render the same bytes as one, and leave nothing behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.outputs import bytes_of_run
from tests.support.processes import command
from tests.support.projects import write_job
from tests.support.prompts import write_scans
from tests.support.simulator import environ_without_key
from tests.workers.dask_cluster import wait_until

KEYS = environ_without_key()
SLOW = (
    "{% if text.split()[-1] | int > 150 %}{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}"
    "{% endfor %}{% endif %}{{ text }}"
)
"""A template that renders for long, but not in the first rows, which are also rendered by the check of a spec."""


def run_with(root: Path, jobs: str, **changes: Any) -> dict[str, bytes]:
    root.mkdir()
    (write_scans if "source" not in changes else write_job)(root, **changes)
    ended = command(root, KEYS, "run", "job.yaml", "--simulate", "--jobs", jobs)
    assert ended.returncode in (0, 3), ended.stderr
    return bytes_of_run(root)


def test_documents_are_the_same_bytes_in_three_processes(tmp_path: Path) -> None:
    one, three = run_with(tmp_path / "one", "1"), run_with(tmp_path / "three", "3")
    assert one == three
    assert len(one["attached.jsonl"].splitlines()) == 13


def test_texts_are_the_same_bytes_in_two_processes(tmp_path: Path) -> None:
    changes = {"source": {"type": "csv", "path": "rows.csv", "key": "id"}, "rows": 1_000}
    assert run_with(tmp_path / "one", "1", **changes) == run_with(tmp_path / "two", "2", **changes)


def test_plan_takes_the_number_of_processes_from_the_environment(tmp_path: Path) -> None:
    write_scans(tmp_path)
    plans = [
        json.loads(command(tmp_path, {**KEYS, **more}, "plan", "job.yaml", "--simulate", "--json").stdout)
        for more in ({}, {"RUNNER_JOBS": "2"}, {"RUNNER_JOBS": "auto"})
    ]
    assert [{**one, "run": ""} for one in plans] == [{**plans[0], "run": ""}] * 3


def test_mistake_in_a_row_is_named_as_by_one_process(tmp_path: Path) -> None:
    write_job(tmp_path, rows=700, prompt={"user": "{{ 1 // (text | length - 15) }} {{ text }}"})
    messages = [
        command(tmp_path, KEYS, "run", "job.yaml", "--simulate", "--jobs", jobs).stderr for jobs in ("1", "2")
    ]
    assert messages[0] == messages[1]
    assert "modulo by zero (row 100, " in messages[0]


@pytest.mark.parametrize("jobs", ["0", "-1", "many", "1.5"])
def test_wrong_number_of_processes_is_refused(tmp_path: Path, jobs: str) -> None:
    write_job(tmp_path)
    ended = command(tmp_path, KEYS, "plan", "job.yaml", "--simulate", "--jobs", jobs)
    assert (
        ended.returncode,
        f"{jobs!r} must be a number from 1 to 999, auto or dask://HOST:PORT" in ended.stderr,
    ) == (2, True)


def children_of(pid: int) -> list[int]:
    """The processes that render for a process."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            if parent == pid and b"spawn_main" in (path.parent / "cmdline").read_bytes():
                found.append(int(path.parent.name))
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A command whose processes render rows for long."""
    write_job(tmp_path, rows=2_000, prompt={"user": SLOW})
    words = [sys.executable, "-m", "runner", "plan", "job.yaml", "--simulate", "--jobs", "2"]
    with subprocess.Popen(
        words, cwd=tmp_path, env=KEYS, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        wait_until(lambda: len(children_of(process.pid)) == 2)
        yield process
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_outlives_the_command(busy: subprocess.Popen[str], number: signal.Signals) -> None:
    children = children_of(busy.pid)
    busy.send_signal(number)
    busy.wait()
    wait_until(lambda: not any(map(is_alive, children)))


def test_process_that_dies_is_an_error_with_a_remedy(busy: subprocess.Popen[str]) -> None:
    os.kill(children_of(busy.pid)[-1], signal.SIGKILL)
    assert busy.stderr is not None
    assert "a process that does a part of the work has ended by itself" in busy.stderr.read()
    assert busy.wait() == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_to_all_processes_is_a_stop(busy: subprocess.Popen[str], number: signal.Signals) -> None:
    os.killpg(busy.pid, number)
    assert busy.stderr is not None
    said = busy.stderr.read()
    assert (busy.wait(), "Traceback" in said, "ended by itself" in said) == (128 + number, False, False)


def test_processes_import_nothing_from_the_working_folder(tmp_path: Path) -> None:
    write_job(tmp_path)
    for name in ("random", "signal", "types"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')\n")
    script = tmp_path / "bin/runner"
    script.parent.mkdir()
    script.write_text("from runner.__main__ import main\nif __name__ == '__main__':\n    main()\n")
    words = [sys.executable, str(script), "plan", "job.yaml", "--simulate", "--jobs", "2"]
    ended = subprocess.run(words, cwd=tmp_path, env=KEYS, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, "imported" in ended.stderr) == (0, False), ended.stderr
