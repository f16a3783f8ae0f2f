"""Labels belong to a run, but not to what it sends: they may be edited at any time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import StateError, Summary, load_spec
from runner.lifecycle.maintain.purge import purge_run
from runner.runs.find import find_runs, open_run
from runner.runs.snapshot import read_labels
from runner.spec.record import make_record
from tests.support.projects import load_problems, write_job


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def labels_of_newest() -> dict[str, str]:
    with open_run(find_runs()[0], lock=False) as (store, run):
        return read_labels(store, run)


def test_labels_of_a_run_are_those_of_its_last_start(project: Path, run_job: Callable[..., Summary]) -> None:
    write_job(project, labels={"team": "finance"})
    first = run_job(wait=False)
    assert labels_of_newest() == {"team": "finance"}
    write_job(project, labels={"team": "support"})
    assert run_job().run == first.run
    assert labels_of_newest() == {"team": "support"}
    write_job(project, labels={"team": "nobody"})
    assert run_job().run == first.run
    assert labels_of_newest() == {"team": "support"}  # a finished run is not started again


def test_labels_outlive_a_purge(project: Path, run_job: Callable[..., Summary]) -> None:
    write_job(project, labels={"team": "finance"})
    run_job()
    purge_run(find_runs()[0])
    assert labels_of_newest() == {"team": "finance"}


def test_run_without_labels_keeps_no_file(project: Path, run_job: Callable[..., Summary]) -> None:
    run_job()
    assert labels_of_newest() == {}
    assert list((project / ".runner").rglob("labels.json")) == []


def test_labels_are_no_part_of_the_snapshot(project: Path) -> None:
    none_and_one: list[dict[str, Any]] = [{}, {"labels": {"team": "a"}}]
    records = [make_record(load_spec(write_job(project, **one))) for one in none_and_one]
    assert records[0] == records[1]


def test_damaged_labels_are_an_error(project: Path, run_job: Callable[..., Summary]) -> None:
    write_job(project, labels={"team": "finance"})
    run_job()
    next((project / ".runner").rglob("labels.json")).write_text("[1")
    with pytest.raises(StateError, match="is damaged"):
        labels_of_newest()


@pytest.mark.parametrize(
    "written", ["labels: {team: 7}", "labels: {Team: a}", "labels: [team]", "labels: {team: ''}"]
)
def test_labels_are_names_with_text(tmp_path: Path, written: str) -> None:
    (tmp_path / "specs").mkdir()
    [problem] = load_problems(tmp_path, written)
    assert problem.message.startswith("labels")
