"""A Dask cluster renders the same bytes as one process, whatever happens to its workers."""

import json
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.files import image
from tests.support.outputs import bytes_of_run
from tests.support.processes import command
from tests.support.projects import write_job
from tests.support.prompts import write_scans
from tests.support.simulator import environ_without_key
from tests.workers.dask_cluster import Cluster, wait_until

KEYS = environ_without_key()
SLOW = (
    "{% if text.split()[-1] | int < 3000 %}{% for a in range(200) %}{% for b in range(100) %}{% endfor %}"
    "{% endfor %}{% endif %}{{ text }}"
)
"""A template that renders for some milliseconds in the first rows."""


def run_with(root: Path, jobs: str) -> dict[str, bytes]:
    """All that a run of the job writes with these `--jobs`, besides its database."""
    shutil.rmtree(root / "simulated", ignore_errors=True)
    ended = command(root, KEYS, "run", "job.yaml", "--simulate", "--jobs", jobs)
    assert ended.returncode in (0, 3), ended.stderr
    return bytes_of_run(root)


def plan_with(root: Path, jobs: str) -> Any:
    return command(root, KEYS, "plan", "job.yaml", "--simulate", "--jobs", jobs)


def test_killed_worker_changes_no_byte(tmp_path: Path, cluster: Cluster) -> None:
    # So many that their results are read elsewhere too, and their outputs formatted.
    write_job(tmp_path, rows=20_000, prompt={"user": SLOW}, batch={"max_requests": 9_000, "poll_seconds": 0.1})
    one, four = run_with(tmp_path, "1"), run_with(tmp_path, "4")
    workers = [cluster.start_worker() for _ in range(2)]
    shutil.rmtree(tmp_path / "simulated")
    words = [
        sys.executable,
        "-m",
        "runner",
        "run",
        "job.yaml",
        "--simulate",
        "--jobs",
        f"dask://{cluster.address}",
    ]
    with subprocess.Popen(words, cwd=tmp_path, env=KEYS, stderr=subprocess.PIPE, text=True) as process:
        cluster.kill_in_mid_task(workers[0])
        _, said = process.communicate()
    assert (process.returncode, workers[0].wait(), workers[1].poll()) == (0, -signal.SIGKILL, None), said
    assert one == four == bytes_of_run(tmp_path)
    assert {"rows.jsonl", "all.jsonl", "labels.csv"} < set(one)


def test_documents_are_the_same_bytes_on_a_cluster(tmp_path: Path, cluster: Cluster) -> None:
    write_scans(tmp_path)
    jobs = f"dask://{cluster.address}"
    for _ in range(2):
        cluster.start_worker()
    first = run_with(tmp_path, "1")
    assert len(first["attached.jsonl"].splitlines()) == 13
    assert run_with(tmp_path, jobs) == first
    # A worker keeps nothing of a file that has changed.
    (tmp_path / "logo.png").write_bytes(image(500, 300))
    second = run_with(tmp_path, "1")
    assert second != first
    assert run_with(tmp_path, jobs) == second


def test_mistake_in_a_row_is_named_as_by_one_process(tmp_path: Path, cluster: Cluster) -> None:
    write_job(tmp_path, rows=700, prompt={"user": "{{ 1 // (text | length - 15) }} {{ text }}"})
    cluster.start_worker()
    ended = [plan_with(tmp_path, jobs) for jobs in ("1", f"dask://{cluster.address}")]
    assert [one.returncode for one in ended] == [2, 2]
    assert ended[0].stderr == ended[1].stderr
    assert "modulo by zero (row 100, " in ended[0].stderr


def test_absent_scheduler_is_a_usage_error(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    write_job(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    ended = plan_with(tmp_path, f"dask://127.0.0.1:{port}")
    assert ended.returncode == 2
    assert f"no Dask scheduler answers at 127.0.0.1:{port}" in ended.stderr


def test_server_that_says_nothing_is_a_usage_error(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    write_job(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = plan_with(tmp_path, f"dask://127.0.0.1:{server.getsockname()[1]}")
    assert (ended.returncode, "no Dask scheduler answers at" in ended.stderr) == (2, True)


def test_cluster_without_workers_is_a_usage_error(tmp_path: Path, cluster: Cluster) -> None:
    write_job(tmp_path)
    ended = plan_with(tmp_path, f"dask://{cluster.address}")
    assert (ended.returncode, "it has no workers: start some with" in ended.stderr) == (2, True)


def test_scheduler_that_dies_is_an_error(tmp_path: Path, cluster: Cluster) -> None:
    write_job(tmp_path, rows=5_000, prompt={"user": SLOW})
    cluster.start_worker()
    with start_plan(tmp_path, cluster) as process:
        wait_until(cluster.working)
        cluster.scheduler.kill()
        _, said = process.communicate()
    assert (process.returncode, "the cluster has dropped a task" in said) == (1, True), said


def start_plan(root: Path, cluster: Cluster) -> subprocess.Popen[str]:
    words = [
        sys.executable,
        "-m",
        "runner",
        "plan",
        "job.yaml",
        "--simulate",
        "--jobs",
        f"dask://{cluster.address}",
    ]
    return subprocess.Popen(
        words, cwd=root, env=KEYS, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def test_stop_ends_the_command_and_its_tasks(tmp_path: Path, cluster: Cluster) -> None:
    endless = "{% for a in range(1000) %}{% for b in range(1000) %}{% endfor %}{% endfor %}{{ text }}"
    write_job(tmp_path, rows=100_000, prompt={"user": endless})
    cluster.start_worker()
    with start_plan(tmp_path, cluster) as process:
        wait_until(cluster.working)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert (process.returncode, "Traceback" in said) == (130, False), said
    wait_until(lambda: not cluster.working())

    def count_executing() -> list[int]:
        found = cluster.ask(lambda client: client.run(lambda dask_worker: len(dask_worker.state.executing)))
        return list(found.values())

    # A task that has begun cannot be broken off.
    wait_until(lambda: count_executing() == [0])


def test_worker_of_another_version_is_named(tmp_path: Path, cluster: Cluster) -> None:
    write_job(tmp_path)
    shutil.copytree(ROOT / "runner", tmp_path / "code/runner", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "code/runner/text.py").open("a") as file:
        file.write("\n# Another version.\n")
    cluster.start_worker(tmp_path / "code")
    ended = plan_with(tmp_path, f"dask://{cluster.address}")
    assert ended.returncode == 1
    assert f"the worker {socket.gethostname()} has other versions: runner " in ended.stderr


def test_large_rows_go_to_a_cluster_without_a_warning(tmp_path: Path, cluster: Cluster) -> None:
    write_job(tmp_path, prompt={"user": "{{ text }}"}, source={"type": "jsonl", "path": "rows.jsonl", "key": "id"})
    rows = [json.dumps({"id": number, "text": f"{number}" * 100_000}) for number in range(200)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    cluster.start_worker()
    ended = plan_with(tmp_path, f"dask://{cluster.address}")
    assert (ended.returncode, "graph" in ended.stderr) == (0, False), ended.stderr
