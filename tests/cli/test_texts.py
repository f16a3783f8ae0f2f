"""The texts that commands print are those of `tests/data/texts`, so that wording is reviewed in one diff.

After a change of wording, run `UPDATE_TEXTS=1 pytest tests/cli/test_texts.py` and review the changed files.
"""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from runner.cli import main
from tests.support import DATA, ROOT
from tests.support.outputs import normalize
from tests.support.processes import command

TEXTS = DATA / "texts"
PRINTED = {
    "plan": ("plan", "specs/invoices.yaml", "--simulate"),
    "summary": ("run", "specs/invoices.yaml", "--simulate"),
}
HELP = {"help": ("--help",), **{f"help-{name}": (name, "--help") for name in main.commands}}


def compare(name: str, text: str) -> None:
    """Compare a text with its file, or write the file if the environment asks for it."""
    path = TEXTS / f"{name}.txt"
    if os.environ.get("UPDATE_TEXTS"):
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")


@pytest.mark.parametrize("name", HELP)
def test_help_is_the_reviewed_text(name: str) -> None:
    ended = CliRunner(env={"COLUMNS": "80"}).invoke(main, HELP[name], prog_name="runner")
    assert ended.exit_code == 0
    compare(name, ended.stdout)


@pytest.mark.parametrize("name", PRINTED)
def test_printed_text_is_the_reviewed_text(tmp_path: Path, name: str) -> None:
    for folder in ("specs", "prompts"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    ended = command(tmp_path, os.environ, *PRINTED[name])
    assert ended.returncode == 0
    compare(name, normalize(ended.stdout))


def test_every_reviewed_text_is_compared() -> None:
    assert {path.stem for path in TEXTS.iterdir()} == {*PRINTED, *HELP}
