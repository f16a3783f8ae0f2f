"""The command `report` writes a page or prints Markdown."""

import re
from pathlib import Path

import pytest

from tests.support.processes import RUN, command
from tests.support.projects import write_job
from tests.support.simulator import environ_without_key, simulator

ENVIRON = environ_without_key()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose only run is finished."""
    root = tmp_path_factory.mktemp("project")
    write_job(root)
    with simulator(root / "api") as environ:
        assert command(root, environ, *RUN).returncode == 0
    return root


def test_report_is_written_where_it_is_wanted(project: Path) -> None:
    ended = command(project, ENVIRON, "report", "job", "-o", "pages/morning.html")
    assert re.fullmatch(r"wrote pages/morning\.html: run tp\w+ of job\n", ended.stderr)
    assert (project / "pages/morning.html").read_text().startswith("<!doctype html>")


def test_report_has_a_name_of_its_own(project: Path) -> None:
    ended = command(project, ENVIRON, "report", "job.yaml", "--no-rows")
    [path] = project.glob("report-*.html")
    assert (
        ended.stderr == f"wrote {path.name}: run {path.stem[7:]} of job\n"
        and "text number" not in path.read_text()
    )


def test_markdown_is_printed(project: Path) -> None:
    ended = command(project, ENVIRON, "report", "job", "--md")
    assert ended.returncode == 0 and "Finished: 20 of 20 rows succeeded" in ended.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("report", "other"), "no run matches 'other'"),
        (("report", "job", "-o", "rows.csv/r.html"), "--output: "),
        (("report", "job", "-o", "rows.csv"), "rows.csv is an input of run "),
        (("report", "job", "--md", "-o", "job.yaml"), "job.yaml is an input of run "),
    ],
)
def test_report_that_cannot_be_written_is_an_error(project: Path, words: tuple[str, ...], message: str) -> None:
    ended = command(project, ENVIRON, *words)
    assert ended.returncode == 2 and message in ended.stderr
