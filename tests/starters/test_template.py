"""Templates: each can be simulated at once, adds files without overwriting any, and is in the wheel."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from runner import load_spec, run
from runner.errors import UsageError
from runner.lifecycle.validate.checks import validate_spec
from runner.spec.schema_errors import schema_text
from runner.starters.template import copy_template, list_templates
from tests.support import FIRST_JOBS, ROOT

NAMES = ("classify", "documents", "invoices", "contracts", "retrospectives", "question_bank")


def test_every_shipped_job_is_a_template() -> None:
    assert tuple(list_templates()) == NAMES
    assert {path.stem for path in FIRST_JOBS} < set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_template_can_be_simulated_at_once(tmp_path: Path, name: str) -> None:
    made = copy_template(name, tmp_path / "new")
    spec = load_spec(made.spec)
    assert spec.root == tmp_path / "new"
    summary = run(spec, simulate=True)
    assert summary.outcomes == {"succeeded": 6 if name == "contracts" else 10}
    assert validate_spec(spec).findings == [] or spec.path.parent.name == "specs"


@pytest.mark.parametrize("name", NAMES)
def test_template_comes_with_all_that_a_project_needs(tmp_path: Path, name: str) -> None:
    spec = copy_template(name, tmp_path).spec
    first, *_ = spec.read_text().splitlines()
    match = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
    assert match is not None and (spec.parent / match[1]).read_text() == schema_text()
    assert {".env", ".runner/", "simulated/", "out/"} == set((tmp_path / ".gitignore").read_text().split())
    readme = (tmp_path / "README.md").read_text().splitlines()
    assert len(readme) == 11
    commands = [line.split()[1] for line in readme if line.startswith("    runner ")]
    assert commands == ["validate", "run", "pilot", "run"]


def test_template_never_overwrites_a_file(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    made = copy_template("classify", tmp_path)
    again = copy_template("classify", tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"
    assert made.left == [tmp_path / "README.md"]
    assert again.written == [] and set(again.left) == {*made.written, *made.left}


def test_second_template_is_added_to_a_project(tmp_path: Path) -> None:
    copy_template("classify", tmp_path)
    made = copy_template("invoices", tmp_path)
    assert {path.name for path in made.left} == {".gitignore", "README.md"}
    assert run(load_spec(made.spec), simulate=True).exit_code == 0


def test_unknown_template_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"did you mean 'invoices'.*runner init classify invoice"):
        copy_template("invoice", tmp_path)


INIT = """\
from runner.cli import main
for name in {names}:
    main(["init", name, name], standalone_mode=False)
"""


def read_files(folder: Path) -> dict[Path, bytes]:
    """The content of each file below a folder."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_wheel_holds_every_template(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "installed")
    environ = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    words = [sys.executable, "-c", INIT.format(names=NAMES)]
    subprocess.run(words, cwd=tmp_path, env=environ, check=True, capture_output=True)
    for name in NAMES:
        copy_template(name, tmp_path / "here" / name)
        assert read_files(tmp_path / name) == read_files(tmp_path / "here" / name) != {}
