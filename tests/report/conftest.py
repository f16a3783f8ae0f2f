"""Fixtures of the tests of reports."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report.browser import Page, find_chromium, open_browser
from tests.support.projects import write_job


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that is the working folder."""
    write_job(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A page of a headless browser."""
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    with open_browser(chromium) as opened:
        yield opened
