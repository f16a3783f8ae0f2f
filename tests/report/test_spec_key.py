"""`report` in a spec has the page about a run written with its outputs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import InputError, RetriesStopped, Summary, load_spec
from runner.lifecycle.maintain.purge import find_purgeable, purge_run
from runner.spec.record import make_record
from tests.support.projects import SCHEMA, load_problems, write_job

PAGE = "out/report.html"


def text(project: Path, path: str = PAGE) -> str:
    return (project / path).read_text()


def test_page_is_written_after_each_run(project: Path, run_job: Callable[..., Summary]) -> None:
    write_job(project, report=PAGE)
    first = run_job()
    assert f"run <code>{first.run}</code>" in text(project)
    write_job(project, rows=25, report=PAGE)
    second = run_job()
    assert f"run <code>{second.run}</code>" in text(project) and "Since the last run" in text(project)


def test_page_of_an_unfinished_run_is_written(project: Path, run_job: Callable[..., Summary]) -> None:
    write_job(project, report=PAGE)
    run_job(wait=False)
    assert "Not finished" in text(project)
    run_job()
    assert "Finished: 20 of 20 rows succeeded" in text(project)


def test_page_of_a_run_that_was_stopped_is_written(project: Path, run_job: Callable[..., Summary]) -> None:
    checks = [{"check": "false", "message": "never right"}]
    write_job(project, rows=30, report=PAGE, output={"schema": SCHEMA, "checks": checks})
    with pytest.raises(RetriesStopped):
        run_job()
    assert "30 rows of 30 (100 %) did not succeed." in text(project)


def test_simulated_page_stays_below_simulated(project: Path, run_job: Callable[..., Summary]) -> None:
    write_job(project, report=PAGE)
    run_job(simulate=True)
    assert "simulated: nothing was paid" in text(project, f"simulated/{PAGE}") and not (project / PAGE).exists()


def test_adding_a_page_sends_nothing_again(project: Path, run_job: Callable[..., Summary]) -> None:
    first = run_job()
    write_job(project, report=PAGE)
    assert run_job().run == first.run and (project / PAGE).exists()


def test_page_is_no_part_of_the_snapshot(project: Path) -> None:
    none_and_one: list[dict[str, Any]] = [{}, {"report": PAGE}]
    records = [make_record(load_spec(write_job(project, **one))) for one in none_and_one]
    assert records[0] == records[1]


def test_purged_run_keeps_its_page(project: Path, run_job: Callable[..., Summary]) -> None:
    write_job(project, report=PAGE)
    run_job()
    before = text(project)
    purge_run(find_purgeable()[0])
    run_job()
    assert text(project) == before


def test_page_that_cannot_be_written_is_found_first(project: Path, run_job: Callable[..., Summary]) -> None:
    write_job(project, report="rows.csv/report.html")
    with pytest.raises(InputError, match=r"rows.csv is not a writable folder: .* or correct `report`"):
        run_job()


def test_page_and_sink_have_different_files(project: Path, run_job: Callable[..., Summary]) -> None:
    write_job(project, report=PAGE, sinks=[{"type": "jsonl", "path": PAGE}])
    with pytest.raises(InputError, match="is also the file of a sink"):
        run_job()


@pytest.mark.parametrize("written", ["report: out/report.txt", "report: s3://bucket/r.html", "report: ../r.html"])
def test_page_is_a_file_of_the_project(tmp_path: Path, written: str) -> None:
    (tmp_path / "specs").mkdir()
    (tmp_path / "prompts").mkdir()
    [problem] = load_problems(tmp_path, written)
    assert "ends in .html" in problem.message or "outside the project folder" in problem.message
