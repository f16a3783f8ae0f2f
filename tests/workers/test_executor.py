"""Any Executor renders the same bytes, and what is sent to it holds no secret."""

import os
import pickle
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from runner import load_spec, run
from runner.errors import RunnerError, UsageError
from runner.lifecycle.prepare.render_elsewhere import pickle_job
from runner.templates.load import load_templates
from runner.workers.cluster import Mismatch, find_versions, open_cluster, take_result
from runner.workers.run_tasks import run_tasks
from runner.workers.tasks import Stop
from tests.support.outputs import bytes_of_run
from tests.support.projects import write_job
from tests.support.prompts import write_scans


class Own(Executor):
    """An Executor that calls `around` with each task."""

    def __init__(self, around: Callable[[Callable[[], Any]], Any]) -> None:
        self._around = around

    def submit(self, fn: Callable[..., Any], /, *args: Any, **more: Any) -> "Future[Any]":
        future = Future[Any]()
        future.set_result(self._around(lambda: fn(*args, **more)))
        return future


def end_process(*_: object) -> None:
    os._exit(1)


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_an_executor_renders_the_bytes_of_one_process(tmp_path: Path, kind: str) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_scans(tmp_path / name)
    run(tmp_path / "one/job.yaml", simulate=True)
    pool = ThreadPoolExecutor(2) if kind == "threads" else ProcessPoolExecutor(2, get_context("spawn"))
    with pool:
        run(tmp_path / "two/job.yaml", simulate=True, jobs=pool)
    assert bytes_of_run(tmp_path / "one") == bytes_of_run(tmp_path / "two")


def test_file_that_only_a_worker_cannot_read_rejects_no_row(tmp_path: Path) -> None:
    write_scans(tmp_path)

    def without_scans(task: Callable[[], Any]) -> Any:
        (tmp_path / "scans").rename(tmp_path / "hidden")
        try:
            return task()
        finally:
            (tmp_path / "hidden").rename(tmp_path / "scans")

    with pytest.raises(RunnerError, match=r"cannot do what works here: .*0\.pdf cannot be read"):
        run(tmp_path / "job.yaml", simulate=True, jobs=Own(without_scans))


def test_executor_that_is_closed_is_an_error(tmp_path: Path) -> None:
    write_job(tmp_path)
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(RunnerError, match="the Executor takes no more tasks: cannot schedule new futures"):
        run(tmp_path / "job.yaml", simulate=True, jobs=pool)


@pytest.mark.parametrize("parts", [1, 9])
def test_executor_whose_process_dies_is_an_error(parts: int) -> None:
    with (
        ProcessPoolExecutor(1, get_context("spawn")) as pool,
        open_cluster(pool) as workers,
        pytest.raises(RunnerError, match=r"BrokenProcessPool|takes no more tasks"),
    ):
        list(run_tasks(workers, end_process, b"", iter(range(parts)), Stop(bool, "stopped")))


def test_versions_that_differ_are_named() -> None:
    future, here = Future[Any](), find_versions()
    future.set_result(Mismatch("host-7", {**here, "Python": "3.9", "jinja2": "none"}))
    with pytest.raises(RunnerError) as error:
        take_result(future)
    assert f"the worker host-7 has other versions: Python 3.9 instead of {here['Python']}, jinja2" in str(
        error.value
    )


@pytest.mark.parametrize("jobs", [0, -1, "4", "tcp://127.0.0.1:8786"])
def test_other_jobs_are_a_usage_error(tmp_path: Path, jobs: Any) -> None:
    write_job(tmp_path)
    with pytest.raises(UsageError, match="jobs: "):
        run(tmp_path / "job.yaml", simulate=True, jobs=jobs)


def test_what_is_sent_to_workers_holds_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-secret-1")
    monkeypatch.setenv("DB_PASSWORD", "secret-2")
    monkeypatch.setenv("HOOK", "https://hooks.example/secret-3")
    write_job(
        tmp_path,
        source={
            "type": "sql",
            "url": "postgresql://me:${env:DB_PASSWORD}@db/in",
            "query": "SELECT 1 AS id, 2 AS text",
            "key": "id",
        },
        sinks=[
            {"type": "sql", "url": "postgresql://me:secret-4@db/out", "table": "t", "columns": {"key": "key"}},
            {"type": "jsonl", "path": "s3://me:secret-5@bucket/out.jsonl"},
        ],
        notify=[{"url": "${env:HOOK}", "on": ["finished"]}],
        labels={"team": "secret-6"},
    )
    spec = load_spec(tmp_path / "job.yaml")
    assert "secret-2" in str(spec.source.options) and "secret-3" in repr(pickle.dumps(spec.notify))
    job = pickle_job(load_templates(spec))
    assert b"Label the text." in job
    assert b"secret" not in job and b"hooks.example" not in job


@pytest.mark.parametrize("kind", ["files", "text"])
def test_a_source_of_files_is_sent_without_its_password(tmp_path: Path, kind: str) -> None:
    path = "ftp://me:secret@host/scans/*.txt"
    source = {"type": kind, "path": path, "key": "path" if kind == "files" else "line"}
    write_job(tmp_path, source=source, prompt={"user": "{{ text }}"})
    job = pickle_job(load_templates(load_spec(tmp_path / "job.yaml")))
    assert b"host/scans" in job and b"secret" not in job


def test_the_environment_is_not_sent_to_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_NAME", "some-value")
    write_job(tmp_path)
    sent: list[bytes] = []

    class Keeping(Own):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **more: Any) -> "Future[Any]":
            sent.append(pickle.dumps((fn, args, more)))
            return super().submit(fn, *args, **more)

    run(tmp_path / "job.yaml", simulate=True, jobs=Keeping(lambda task: task()))
    assert sent and not any(name in text for text in sent for name in (b"SOME_NAME", b"some-value"))
