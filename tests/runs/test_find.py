"""Runs are found by id, the beginning of an id, spec path or spec name."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from runner import Summary
from runner.errors import InputError, UsageError
from runner.runs.find import find_run, find_runs, match_run_id
from tests.support.processes import RUN_SIMULATED, command
from tests.support.projects import write_job
from tests.support.simulator import environ_without_key


@pytest.fixture
def finished(tmp_path: Path, run_job: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch) -> Summary:
    """A finished run of the spec `job` in the working folder."""
    summary = run_job()
    monkeypatch.chdir(tmp_path)
    return summary


def test_a_run_is_found_by_each_of_its_names(finished: Summary) -> None:
    for target in (finished.run, finished.run[:3], finished.run[:-1], "job", "job.yaml", "./job.yaml", None):
        assert [run.summary.run for run in find_runs(target)] == [finished.run]


def test_two_characters_are_no_beginning_of_an_id(finished: Summary) -> None:
    with pytest.raises(UsageError, match="no run matches"):
        find_runs(finished.run[:2])


def test_an_ambiguous_beginning_lists_the_candidates(finished: Summary, run_job: Callable[..., Summary]) -> None:
    second = run_job(new=True)
    with pytest.raises(UsageError, match="is the beginning of 2 run ids") as caught:
        find_run(finished.run[:4])
    assert f"  {second.run}  job, finished\n  {finished.run}  job, finished" in str(caught.value)


def test_a_spec_name_wins_over_the_beginning_of_an_id(
    tmp_path: Path, finished: Summary, run_job: Callable[..., Summary]
) -> None:
    write_job(tmp_path, name=finished.run[:6])
    second = run_job()
    assert find_run(finished.run[:6]).summary.run == second.run
    assert find_run(finished.run[:10]).summary.run == finished.run


def test_a_real_run_wins_over_a_simulated_one(finished: Summary, run_job: Callable[..., Summary]) -> None:
    simulated = run_job(simulate=True)
    assert [run.summary.run for run in find_runs("job")] == [simulated.run, finished.run]
    assert find_run("job").summary.run == finished.run


@pytest.mark.usefixtures("finished")
def test_a_misspelled_spec_name_gets_a_suggestion() -> None:
    with pytest.raises(UsageError, match="did you mean 'job'"):
        find_runs("jbo")


@pytest.mark.usefixtures("finished")
def test_a_spec_that_never_ran_has_no_run(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(write_job(tmp_path).read_text().replace('"job"', '"other"'))
    with pytest.raises(UsageError, match=r"other\.yaml has no run yet in .*: `runner run other\.yaml` starts one"):
        find_run("other.yaml")
    with pytest.raises(InputError, match="No such file"):
        find_run("nope.yaml")


def test_a_run_in_another_state_is_named_in_the_error(finished: Summary) -> None:
    with pytest.raises(UsageError, match=f"no run of job is running: the newest, {finished.run}, is finished"):
        find_run("job", "running")
    with pytest.raises(UsageError, match="no run of job is running, canceling or abandoned: the newest"):
        find_run("job", "running", "canceling", "abandoned")


def test_long_lists_of_candidates_are_cut() -> None:
    with pytest.raises(UsageError, match="and 15 older"):
        match_run_id("abc", {f"abc{number:02}": f"abc{number:02}" for number in range(25)})


def test_commands_take_beginnings_and_spec_names(tmp_path: Path) -> None:
    write_job(tmp_path)
    run = json.loads(command(tmp_path, environ_without_key(), *RUN_SIMULATED, "--json").stdout)
    for target in ("job", run["run"][:5]):
        assert json.loads(command(tmp_path, environ_without_key(), "status", target, "--json").stdout) == run
        assert command(tmp_path, environ_without_key(), "reconcile", target).returncode == 0
    assert command(tmp_path, environ_without_key(), "cancel", "job").returncode == 2
    purged = command(tmp_path, environ_without_key(), "purge", run["run"][:5], "--yes")
    assert (purged.returncode, f"run {run['run']} was purged" in purged.stdout) == (0, True)
