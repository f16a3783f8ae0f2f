"""The project that the tests of this folder start from."""

import csv
import io
import shutil
from pathlib import Path

import pytest

from tests.support import ROOT


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the shipped jobs, of which it has the first rows, and with rows of its own."""
    root = tmp_path_factory.mktemp("project")
    for folder in ("specs", "prompts"):
        shutil.copytree(ROOT / folder, root / folder)
    for path in (root / "specs" / "data").glob("*.csv"):
        first = [*csv.reader(io.StringIO(path.read_bytes().decode(), newline=""))][:3]
        with path.open("w", newline="") as file:
            csv.writer(file).writerows(first)
    (root / "rows.csv").write_text("id,text\nr1,one\nr2,two\n")
    (root / "rows.jsonl").write_text('{"id": 1, "text": "one"}\n')
    return root
