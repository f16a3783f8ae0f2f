"""A state in PostgreSQL: machines that come and go share it, and nothing is paid twice."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.outputs import records
from tests.support.processes import RUN, command, end, start_suspended
from tests.support.projects import BATCHES, EACH_ONCE, write_job
from tests.support.servers import query_server
from tests.support.simulator import accepted, end_batches, paid, simulator

pytestmark = [pytest.mark.slow, pytest.mark.server]


@pytest.fixture
def environ(tmp_path: Path, postgres_url: str) -> Iterator[dict[str, str]]:
    """A job whose state is shared, and a simulator whose batches end soon."""
    with serve(tmp_path, postgres_url) as found:
        yield found


@contextmanager
def serve(root: Path, url: str, *, seconds: float = 0.2) -> Iterator[dict[str, str]]:
    """Write a job with a shared state, and serve the API to it."""
    write_job(root)
    shared = {"RUNNER_STATE": url, "RUNNER_FILES": f"file://{root}/files", "RUNNER_PROJECT": str(root)}
    with simulator(root / "api", seconds=seconds) as found:
        yield {**found, **shared}


def leave_unfinished(root: Path, url: str, *words: str) -> None:
    """Begin a run on a shared state; its batches end before the API is served next."""
    with serve(root, url, seconds=3600) as environ:
        assert command(root, environ, *RUN, "--no-wait", *words).returncode == 4
    end_batches(root / "api")


def move(root: Path) -> Path:
    """Let the project be checked out on a machine that has only the files of runs."""
    other = root / "other machine"
    write_job(other)
    (other / ".runner").mkdir()
    (other / ".runner/runs").symlink_to(root / ".runner/runs")
    return other


def test_run_begins_on_one_machine_and_ends_on_another(tmp_path: Path, postgres_url: str) -> None:
    leave_unfinished(tmp_path, postgres_url)
    other = move(tmp_path)
    with serve(tmp_path, postgres_url) as environ:
        ended = command(other, environ, *RUN)
    assert ended.returncode == 0, ended.stderr
    assert not (tmp_path / ".runner/state.db").exists()
    assert paid(tmp_path / "api") == EACH_ONCE
    assert [one["outcome"] for one in records(other / "out/all.jsonl")] == ["succeeded"] * 20


def test_commands_read_a_shared_state(tmp_path: Path, environ: dict[str, str]) -> None:
    assert command(tmp_path, environ, *RUN).returncode == 0
    other = move(tmp_path)
    for words in (("status",), ("show", "job"), ("costs",), ("report", "job"), ("doctor",), ("plan", "job.yaml")):
        ended = command(other, environ, *words)
        assert ended.returncode == 0, f"{words}: {ended.stderr}"
    shown = command(other, environ, "status").stdout
    assert ("state: postgresql://tester@" in shown, "secret" in shown) == (True, False)
    assert command(other, environ, "purge", "job", "--yes").returncode == 0
    assert command(tmp_path, environ, "show", "job").returncode == 2


def test_wrong_place_of_the_files_is_named(tmp_path: Path, environ: dict[str, str]) -> None:
    assert command(tmp_path, environ, *RUN).returncode == 0
    shutil.rmtree(tmp_path / ".runner")
    other = f"file://{tmp_path}/other"
    ended = command(tmp_path, environ, "show", "job", "--files", other)
    assert (ended.returncode, f"are not in {other}/" in ended.stderr) == (8, True), ended.stderr


def test_empty_state_is_named(tmp_path: Path, environ: dict[str, str]) -> None:
    for words in (("status",), ("show", "job")):
        shown = command(tmp_path, environ, *words, "--project", "empty").stderr
        assert ("project 'empty'" in shown, "secret" in shown) == (True, False), shown


def test_status_needs_no_credentials_of_the_files(tmp_path: Path, environ: dict[str, str]) -> None:
    kept = {name: value for name, value in environ.items() if not name.startswith("AWS_")}
    alone = {**kept, "RUNNER_FILES": "s3://bucket/x", "HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    assert command(tmp_path, alone, "status").returncode == 0
    refused = command(tmp_path, alone, *RUN)
    assert (refused.returncode, "no credentials for s3://bucket/x" in refused.stderr) == (8, True), refused.stderr


def test_lost_database_is_rebuilt_as_another_project(tmp_path: Path, postgres_url: str) -> None:
    leave_unfinished(tmp_path, postgres_url)
    query_server(postgres_url, f"DELETE FROM run WHERE project = '{tmp_path}'")  # noqa: S608
    with serve(tmp_path, postgres_url) as environ:
        refused = command(tmp_path, environ, "recover", "job.yaml", "--yes")
        assert (refused.returncode, "name another `project`" in refused.stderr) == (8, True), refused.stderr
        ended = command(tmp_path, environ, "recover", "job.yaml", "--yes", "--project", f"{tmp_path} again")
    assert ended.returncode == 0, ended.stderr
    assert paid(tmp_path / "api") == EACH_ONCE


def test_run_of_another_project_is_not_lost(tmp_path: Path, postgres_url: str) -> None:
    leave_unfinished(tmp_path, postgres_url)
    with serve(tmp_path, postgres_url) as environ:
        ended = command(tmp_path, environ, "recover", "job.yaml", "--yes", "--project", "other")
    assert ended.returncode == 2, ended.stderr
    assert f"is not lost: it is in project {str(tmp_path)!r} of this database" in ended.stderr


def test_two_folders_are_not_the_same_project(tmp_path: Path, environ: dict[str, str]) -> None:
    write_job(tmp_path / "other")
    ended = command(tmp_path, environ, *RUN, "other/job.yaml")
    assert (ended.returncode, "would both be the project" in ended.stderr) == (2, True), ended.stderr
    assert accepted(tmp_path / "api") == 0


def test_printed_command_names_the_state(tmp_path: Path, postgres_url: str) -> None:
    words = ("--project", f"{tmp_path} 2")
    leave_unfinished(tmp_path, postgres_url, *words)
    with serve(tmp_path, postgres_url) as environ:
        shown = command(tmp_path, environ, "status", *words).stdout
    assert f"--resume --project '{tmp_path} 2'" in shown


def test_runner_that_kept_its_lease_sends_on(tmp_path: Path, environ: dict[str, str]) -> None:
    process = start_suspended(tmp_path, environ, "1-2.json")
    refused = command(tmp_path, environ, *RUN)
    assert (refused.returncode, "its lease lasts until" in refused.stderr) == (6, True), refused.stderr
    assert "its lease lasts until" in command(tmp_path, environ, "status").stdout
    os.kill(process.pid, signal.SIGCONT)
    assert end(tmp_path / "worker", process).returncode == 0
    assert paid(tmp_path / "api") == EACH_ONCE


def test_suspended_runner_that_lost_its_lease_stops(tmp_path: Path, environ: dict[str, str]) -> None:
    process = start_suspended(tmp_path, {**environ, "RUNNER_LEASE_SECONDS": "2"}, "1-2.json")
    taken = command(tmp_path, {**environ, "RUNNER_LEASE_SECONDS": "2"}, *RUN, "--wait-lock", "10m")
    assert taken.returncode == 0, taken.stderr
    os.kill(process.pid, signal.SIGCONT)
    ended = end(tmp_path / "worker", process)
    assert (ended.returncode, "has taken over" in ended.stderr) == (6, True), ended.stderr
    assert (paid(tmp_path / "api"), accepted(tmp_path / "api")) == (EACH_ONCE, BATCHES)


def test_two_specs_run_at_once(tmp_path: Path, environ: dict[str, str]) -> None:
    process = start_suspended(tmp_path, environ, "1-2.json")
    text = (tmp_path / "job.yaml").read_text().replace("out/", "out/second/")
    (tmp_path / "second.yaml").write_text(text.replace('"name": "job"', '"name": "second"'))
    second = command(tmp_path, environ, "run", "second.yaml", "--yes")
    os.kill(process.pid, signal.SIGCONT)
    assert end(tmp_path / "worker", process).returncode == 0
    assert second.returncode == 0, second.stderr
    assert accepted(tmp_path / "api") == 2 * BATCHES


def test_next_run_deletes_copies_of_what_another_machine_purged(tmp_path: Path, environ: dict[str, str]) -> None:
    assert command(tmp_path, environ, *RUN).returncode == 0
    other = tmp_path / "other machine"
    write_job(other)
    assert command(other, environ, "purge", "job", "--yes").returncode == 0
    [run] = (tmp_path / ".runner/runs").iterdir()
    assert (run / "rows.jsonl").exists()
    assert command(tmp_path, environ, *RUN).returncode == 0
    assert {path.name for path in run.iterdir()} <= {"spec.json", ".copies"}


def test_first_run_of_a_project_names_the_others(tmp_path: Path, environ: dict[str, str]) -> None:
    assert command(tmp_path, environ, *RUN).returncode == 0
    said = command(tmp_path, environ, *RUN, "--project", "typo").stderr
    assert "project 'typo' has no other runs, but the database has " in said and repr(str(tmp_path)) in said
    assert "no other runs" not in command(tmp_path, environ, *RUN, "--new", "--project", "typo").stderr
