"""The report of a real run holds its figures and nothing that it should not."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import Summary
from runner.lifecycle.maintain.purge import find_purgeable, purge_run
from runner.report.write import make_page, make_text
from runner.runs.find import find_runs, open_run
from tests.support.projects import write_job

KINDS = {1: "truncated", 3: "truncated", 5: "refused"}


def mix(custom_id: str) -> str:
    return KINDS.get(int(custom_id.rpartition("-")[2]), "succeeded")


def page(**options: Any) -> str:
    with open_run(find_runs()[0], lock=False) as (store, run):
        return "".join(make_page(store, run, **options))


def text() -> str:
    with open_run(find_runs()[0], lock=False) as (store, run):
        return make_text(store, run)


@pytest.fixture
def finished(project: Path, run_job: Callable[..., Summary]) -> Summary:
    write_job(project, rows=30, retry={"attempts": 1})
    return run_job(mix=mix)


def test_page_begins_with_the_judgement(finished: Summary) -> None:
    found = page()
    assert "Finished: 27 of 30 rows succeeded" in found
    assert "3 rows of 30 (10 %) did not succeed." in found
    assert f"runner retry {finished.run} --outcome truncated" in found


@pytest.mark.usefixtures("finished")
def test_page_allows_nothing_from_outside() -> None:
    found = page()
    assert "default-src &#39;none&#39;; script-src &#39;sha256-" in found
    assert "http" not in found.replace("http-equiv", "") and "style=" not in found


def has_key(found: str) -> bool:
    """Tell if the key of a row is in a text; the id of a run can have an r3 in it too."""
    return re.search(r"\br3\b", found) is not None


@pytest.mark.usefixtures("finished")
def test_shared_page_holds_no_rows() -> None:
    assert "text number 3" in page()
    found = page(has_rows=False)
    assert "text number" not in found and "<script" not in found and not has_key(found)


@pytest.mark.usefixtures("finished")
def test_markdown_holds_no_rows() -> None:
    found = text()
    assert "27 of 30 rows succeeded" in found and "| 2 | truncated: max\\_tokens |" in found
    assert "text number" not in found and not has_key(found)


@pytest.mark.usefixtures("finished")
def test_changes_since_the_last_run_are_shown(project: Path, run_job: Callable[..., Summary]) -> None:
    write_job(project, rows=30, retry={"attempts": 1}, prompt={"user": "Other words: {{ text }}"})
    run_job(mix=lambda custom_id: "refused" if custom_id.endswith("-2") else "succeeded")
    found = page()
    assert "Since the last run" in found
    assert "1 row succeeded in the last run and failed in this one." in found


@pytest.mark.usefixtures("project")
def test_unfinished_run_shows_what_is_known(run_job: Callable[..., Summary]) -> None:
    run_job(wait=False)
    found = page()
    assert "Not finished: no row has a result yet." in found and "what is known so far" in found


@pytest.mark.usefixtures("finished")
def test_purged_run_keeps_its_figures() -> None:
    purge_run(find_purgeable()[0])
    assert "27 of 30 rows succeeded" in page() and "text number" not in page()
