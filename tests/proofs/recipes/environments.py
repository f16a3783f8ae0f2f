"""Virtual environments of tools, and the wheel of the runner."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support import ROOT


@dataclass(frozen=True)
class Environment:
    """A virtual environment."""

    folder: Path

    def program(self, name: str) -> str:
        """The path of a program in it."""
        return str(self.folder / "bin" / name)

    def install(self, *packages: str) -> None:
        """Install packages with the pip of this Python, so that the environment needs none."""
        words = [sys.executable, "-m", "pip", "--python", self.program("python"), "install", "-q", *packages]
        run(words, cwd=self.folder)

    def version(self, package: str) -> str:
        """The version of an installed package."""
        code = f"from importlib.metadata import version; print(version({package!r}))"
        return run([self.program("python"), "-c", code], cwd=self.folder).strip()


def make_environment(folder: Path, *packages: str) -> Environment:
    """An environment with these packages; one that is there already is used."""
    made = Environment(folder)
    if not (folder / "installed").exists():
        run([sys.executable, "-m", "venv", "--without-pip", "--clear", str(folder)], cwd=folder.parent)
        made.install(*packages)
        (folder / "installed").touch()
    return made


def build_wheel(folder: Path) -> Path:
    """Build the wheel of the runner; return its path."""
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT)
    [wheel] = folder.glob("*.whl")
    return wheel


def run(
    words: list[str], *, cwd: Path, environ: Mapping[str, str] | None = None, codes: tuple[int, ...] = (0,)
) -> str:
    """Run a command; return what it prints. Raises AssertionError, with that, for another exit code."""
    own = {name: value for name, value in (environ or os.environ).items() if name != "PYTHONPATH"}
    ended = subprocess.run(words, cwd=cwd, env=own, stdout=-1, stderr=subprocess.STDOUT, text=True, check=False)
    assert ended.returncode in codes, f"{words}: exit code {ended.returncode}\n{ended.stdout}"
    return ended.stdout
