"""With `--attachments` the page shows what rows attach, beside their answers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import Summary
from runner.report.write import make_page, write_file
from runner.runs.find import find_runs, open_run
from tests.report.browser import Page
from tests.support.files import image, pdf
from tests.support.projects import SPEC, write_job

READY = "document.readyState === 'complete' && / of /.test(document.getElementById('status').textContent)"
PICTURES = "[...document.querySelectorAll('#table img')].map((one) => [one.alt, one.naturalWidth])"


def page_of(project: Path, name: str, **options: Any) -> Path:
    with open_run(find_runs()[0], lock=False) as (store, run):
        write_file(project / name, make_page(store, run, **options))
    return project / name


@pytest.fixture
def scans(project: Path, run_job: Callable[..., Summary]) -> Path:
    """A project whose finished run has sent an image and a PDF."""
    folder = project / "scans"
    folder.mkdir()
    (folder / "a.png").write_bytes(image(480, 240))
    (folder / "b.pdf").write_bytes(pdf(2))
    source = {"type": "files", "path": "scans/*", "key": "name"}
    block = {"type": "image", "path": "{{ path }}", "convert": True}
    write_job(project, source=source, prompt={"user": [block]}, batch={**SPEC["batch"], "max_requests": 1})
    assert run_job().outcomes == {"succeeded": 2}
    return folder


def test_images_and_first_pages_are_shown(page: Page, project: Path, scans: Path) -> None:
    page.open(page_of(project, "report.html", has_pictures=True), until=READY)
    page.evaluate("document.querySelectorAll('#table button.key').forEach((one) => one.click())")
    page.wait(f"{PICTURES}.filter((one) => one[1] > 0).length === 3")
    assert page.evaluate(PICTURES)[0] == ["Attachment 1 of row a.png", 240]
    assert page.problems == [] and scans.exists()


def test_pictures_are_shown_only_if_they_are_wanted(project: Path, scans: Path) -> None:
    plain, full = page_of(project, "plain.html"), page_of(project, "full.html", has_pictures=True)
    assert 'class="pictures"' not in plain.read_text() and 'class="pictures"' in full.read_text()
    assert scans.exists()


def test_file_that_has_changed_is_left_out(project: Path, scans: Path) -> None:
    (scans / "a.png").write_bytes(image(9, 9))
    assert "Finished: 2 of 2 rows succeeded" in page_of(project, "report.html", has_pictures=True).read_text()
