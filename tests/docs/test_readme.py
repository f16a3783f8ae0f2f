"""The README is true: its commands are run, and print what it shows."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from runner import load_spec
from tests.support import ROOT
from tests.support.outputs import normalize

README = (ROOT / "README.md").read_text("utf-8")
CONSOLE = re.findall(r"```console\n\$ (.*?)\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize(("command", "shown"), CONSOLE, ids=[command[:30] for command, _ in CONSOLE])
def test_readme_command_prints_the_shown_output(tmp_path: Path, command: str, shown: str) -> None:
    for name in ("specs", "prompts"):
        (tmp_path / name).symlink_to(ROOT / name)
    words = [sys.executable, "-m", *shlex.split(command)]
    printed = subprocess.run(
        words, cwd=tmp_path, stdout=-1, stderr=subprocess.STDOUT, text=True, check=True
    ).stdout
    assert normalize(printed) == normalize(shown)


def test_first_two_shell_blocks_are_the_set_up_commands() -> None:
    first, second = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    assert first.endswith("runner run specs/invoices.yaml --simulate\n")
    assert second.endswith("pytest\n")


def test_first_readme_spec_is_valid_and_has_twelve_lines(tmp_path: Path) -> None:
    text = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)[0]
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "label.json").write_text("{}")
    (tmp_path / "tickets.yaml").write_text(text)
    assert (load_spec(tmp_path / "tickets.yaml").name, text.count("\n")) == ("tickets", 12)
