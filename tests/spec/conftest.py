"""TODO A spec file becomes a checked Spec, or every mistake in it with its place and a remedy."""

from pathlib import Path

import pytest


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "specs").mkdir()
    return tmp_path.resolve()
