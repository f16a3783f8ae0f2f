"""With `--attachments` the page shows what rows attach, beside their answers."""

import base64
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner import Summary
from runner.lifecycle.deliver.row_results import RowResult
from runner.lifecycle.maintain.purge import purge_run
from runner.report.page.rows import Drawing, open_packer
from runner.report.write import make_page, write_file
from runner.runs.find import find_runs, open_run
from tests.report.browser import Page
from tests.support.files import image, pdf
from tests.support.projects import SPEC, write_job

PACKED = re.compile(r'class="pictures"[^>]*>([^<]+)<')
READY = "document.readyState === 'complete' && / of /.test(document.getElementById('status').textContent)"
PICTURES = "[...document.querySelectorAll('#table img')].map((one) => [one.alt, one.naturalWidth])"


def page_of(project: Path, name: str, **options: Any) -> Path:
    with open_run(find_runs()[0], lock=False) as (store, run):
        write_file(project / name, make_page(store, run, **options))
    return project / name


def count_pictures(project: Path) -> int:
    text = page_of(project, "full.html", has_pictures=True).read_text()
    packed = [zlib.decompress(base64.b64decode(block)) for block in PACKED.findall(text)]
    return sum(len(row) for block in packed for row in msgspec.json.decode(block))


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
    text = page_of(project, "report.html", has_pictures=True).read_text()
    assert "Finished: 2 of 2 rows succeeded" in text
    assert "Pictures are left out: of 1 row (a file has changed since it was sent, or is gone)." in text


def test_rows_that_reuse_answers_have_pictures(
    project: Path, scans: Path, run_job: Callable[..., Summary]
) -> None:
    (scans / "b.pdf").write_bytes(pdf(3))
    run_job()
    assert count_pictures(project) == 1 + 3
    assert "Pictures are left out" not in (project / "full.html").read_text()


def test_rows_of_a_purged_run_are_counted(project: Path, scans: Path, run_job: Callable[..., Summary]) -> None:
    (scans / "b.pdf").write_bytes(pdf(3))
    run_job()
    purge_run(find_runs()[1])
    assert count_pictures(project) == 3
    text = (project / "full.html").read_text()
    assert "Pictures are left out: of 1 row (the run that sent them was purged" in text


def test_first_pictures_are_kept_that_fit() -> None:
    row = RowResult(1, "a", msgspec.Raw(b"{}"), None, None, None, None, None, None)
    with open_packer(rows=4, failed=0, draw=lambda _: Drawing(["x" * 1_500_000])) as packer:
        for _ in range(4):
            packer.add(row)
        packer.finish()
        [block] = packer.blocks()
        drawn = msgspec.json.decode(zlib.decompress(base64.b64decode(block.pictures)))
    assert [len(one) for one in drawn] == [1, 1, 0, 0]
    assert sum(packer.without_pictures.values()) == 2
