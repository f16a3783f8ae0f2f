"""The project that the tests of this folder start from."""

from pathlib import Path

import pytest

from tests.support.projects import write_job


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_job(tmp_path)
    return tmp_path
