"""Packages with types of sources and sinks, installed into a folder that a real process imports from."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support import DATA, ROOT

SPEC = """\
version: 1
name: job
source: {type: numbers, count: 5, parity: odd}
prompt: {user: "{{ text }}"}
params: {model: claude-haiku-5-5, max_tokens: 100}
sinks: [{type: lines, path: out.txt, separator: "|", columns: {n: row.number, outcome: outcome}}]
"""


def install_example(target: Path) -> Path:
    """Install the example package into a folder, with pip."""
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--target"]
    words = [sys.executable, "-m", "pip", "install", *options, str(target), str(DATA / "plugin_example")]
    subprocess.run(words, check=True, capture_output=True)
    return target


def register(target: Path, package: str, group: str, name: str, value: str) -> Path:
    """Write the metadata of an installed package with one entry point; return the folder it is in."""
    folder = target / f"{package}-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")
    return target


def run_with(target: Path, folder: Path, text: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the runner on a spec, in a process that also imports from `target`."""
    (folder / "job.yaml").write_text(text)
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(target)))}
    command = [sys.executable, "-m", "runner", *words]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
