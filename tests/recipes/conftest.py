"""A program `runner` on the PATH, as recipes call it."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.support import ROOT


@pytest.fixture
def with_runner(tmp_path: Path) -> Callable[[Mapping[str, str]], dict[str, str]]:
    """A function that puts the runner of this folder first on the PATH of an environment."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "runner").write_text(f'#!/bin/sh\nexec {sys.executable} -m runner "$@"\n')
    (folder / "runner").chmod(0o755)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return lambda environ: {**environ, "PATH": path, "PYTHONPATH": str(ROOT)}
