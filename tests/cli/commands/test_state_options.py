"""Options that say where the state is: before the environment, .env files and `runner.toml`."""

from pathlib import Path

import pytest

from tests.support.processes import RUN, command
from tests.support.projects import write_job
from tests.support.simulator import environ_without_key, simulator

SHARED = 'state = "postgresql://127.0.0.1:1/none"\nfiles = "file:///nowhere"\n'
"""Settings of a server that does not answer."""


def test_local_state_needs_no_server(tmp_path: Path) -> None:
    write_job(tmp_path)
    (tmp_path / "runner.toml").write_text(SHARED)
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, *RUN, "--state", "local")
    assert ended.returncode == 0, ended.stderr
    assert command(tmp_path, environ, "status").returncode == 8
    assert "job" in command(tmp_path, environ, "status", "--state", ".runner").stdout


def test_simulated_runs_need_no_server(tmp_path: Path) -> None:
    write_job(tmp_path)
    (tmp_path / "runner.toml").write_text(SHARED)
    ended = command(tmp_path, environ_without_key(), "run", "job.yaml", "--simulate")
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "simulated/.runner/state.db").exists()


@pytest.mark.parametrize("where", ["variable", "env file"])
def test_option_comes_before_variables(tmp_path: Path, where: str) -> None:
    (tmp_path / "prompts").mkdir()
    found = {"RUNNER_STATE": "mysql://db/x", "RUNNER_FILES": "s3://b/x"}
    environ = {**environ_without_key(), **(found if where == "variable" else {})}
    if where == "env file":
        (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in found.items()))
    refused = command(tmp_path, environ, "status")
    assert (refused.returncode, "RUNNER_STATE is 'mysql://db/x'" in refused.stderr) == (2, True), refused.stderr
    assert command(tmp_path, environ, "status", "--state", "local").returncode == 0


def test_password_in_an_option_is_refused_and_not_shown(tmp_path: Path) -> None:
    ended = command(tmp_path, environ_without_key(), "status", "--state", "postgresql://me:hidden@db/x")
    assert (ended.returncode, "Invalid value for '--state'" in ended.stderr) == (2, True)
    assert ("set RUNNER_STATE" in ended.stderr, "hidden" in ended.stderr) == (True, False)


@pytest.mark.parametrize(("written", "origin"), [("toml", "runner.toml:1: jobs"), ("variable", "RUNNER_JOBS")])
def test_mistake_in_the_number_of_jobs_is_named(tmp_path: Path, written: str, origin: str) -> None:
    write_job(tmp_path)
    environ = environ_without_key()
    if written == "toml":
        (tmp_path / "runner.toml").write_text("jobs = 0\n")
    else:
        environ["RUNNER_JOBS"] = "0"
    ended = command(tmp_path, environ, "plan", "job.yaml", "--offline")
    assert (ended.returncode, f"{origin} is '0': it must be a number" in ended.stderr) == (2, True), ended.stderr


def test_mistake_in_an_option_names_the_option(tmp_path: Path) -> None:
    words = ("status", "--state", "mysql://db/x")
    ended = command(tmp_path, {**environ_without_key(), "RUNNER_STATE": "local"}, *words)
    assert (ended.returncode, "--state is 'mysql://db/x'" in ended.stderr) == (2, True), ended.stderr
    needed = command(tmp_path, environ_without_key(), "status", "--state", "postgresql://db/x")
    assert "--state needs `files` beside it" in needed.stderr


def test_number_of_jobs_is_a_setting_of_the_project(tmp_path: Path) -> None:
    write_job(tmp_path)
    (tmp_path / "runner.toml").write_text("jobs = 2\n")
    ended = command(tmp_path, environ_without_key(), "plan", "job.yaml", "--offline")
    assert ended.returncode == 0, ended.stderr
