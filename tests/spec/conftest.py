"""The project that the tests of this folder start from."""

from pathlib import Path

import pytest


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "specs").mkdir()
    return tmp_path.resolve()
