"""A stranger's first hour: from a wheel to a finished job on an own CSV, on a real terminal."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.simulator import paid, simulator
from tests.support.terminals import CTRL_C, Terminal

pytestmark = pytest.mark.slow

QUESTION = "send these requests? [y/N]:"
CHECK = """  checks:
    - {check: "output.label != 'bug'", message: a bug is not expected}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The command of the wheel, in an environment that has only what the wheel depends on."""
    folder = tmp_path_factory.mktemp("bare")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "env")], check=True)
    python = folder / "env" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    # Dependencies come from here, so that no network is needed; the runner itself does not.
    [packages] = (folder / "env" / "lib").glob("*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return str(folder / "env" / "bin" / "runner")


def write_tickets(root: Path) -> None:
    subjects = ("cannot log in", "charged twice", "how do I export")
    rows = [f"T-{number:03},{subjects[number % 3]},row {number} of my data\n" for number in range(60)]
    (root / "my tickets.csv").write_text("Ticket ID,Subject Line,Message Body\n" + "".join(rows))


def edit(path: Path, before: str, after: str) -> str:
    """Replace a text in a file; return the whole text from before."""
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    return text


def test_a_stranger_finishes_a_job_within_the_first_hour(tmp_path: Path, program: str) -> None:
    write_tickets(tmp_path)
    api, ask = simulator(tmp_path / "api", seconds=1), "label each ticket as bug, billing or howto"
    with api as environ, Terminal(tmp_path, environ, columns=160) as terminal:
        terminal.environ.pop("PYTHONPATH", None)
        assert terminal.run_program(program, "init", "--from", "my tickets.csv", "--ask", ask) == 0
        [spec] = tmp_path.glob("*.yaml")
        find_planted_mistakes(terminal, program, spec)
        edit(spec, "sinks:\n", f"{CHECK}sinks:\n")
        assert terminal.run_program(program, "plan", spec.name) == 0
        assert "60 to send in 1 batch" in terminal.words()
        stop_and_resume(terminal, program, spec)
        find_failed_rows(terminal, program, spec)
        before = paid(tmp_path / "api")
        edit(spec, CHECK, "")
        terminal.start_program(program, "run", spec.name, "--yes", "--poll-seconds", "0.2")
        assert terminal.end() == 0, terminal.text()
        assert "60 rows, 60 succeeded" in terminal.words()
        assert paid(tmp_path / "api") == before


def find_planted_mistakes(terminal: Terminal, program: str, spec: Path) -> None:
    """Three mistakes are reported in one round, each with its line."""
    sound = edit(spec, "row['Subject Line']", "row['Subject Lime']")
    edit(spec, "max_tokens", "max_token")
    edit(spec, "type: jsonl", "type: jsonk")
    assert terminal.run_program(program, "validate", spec.name) == 2
    for words in ("write row['Subject Line']", "did you mean 'max_tokens'?", "did you mean 'jsonl'?"):
        assert words in terminal.words(), terminal.text()
    spec.write_text(sound)
    assert terminal.run_program(program, "validate", spec.name) == 0, terminal.text()


def stop_and_resume(terminal: Terminal, program: str, spec: Path) -> None:
    """Ctrl-C while the batch is in progress ends with 130; the same command then finishes the run."""
    terminal.start_program(program, "run", spec.name)
    terminal.wait_for(QUESTION)
    terminal.type("y\r")
    terminal.wait_for("1 submitted")
    terminal.type(CTRL_C)
    assert terminal.end() == 130, terminal.text()
    terminal.start_program(program, "run", spec.name, "--yes", "--poll-seconds", "0.2")
    assert terminal.end() == 3, terminal.text()


def find_failed_rows(terminal: Terminal, program: str, spec: Path) -> None:
    """The reason of failed rows, one of them, and its answer are on the screen."""
    assert terminal.run_program(program, "show", spec.name, "--failed", "--limit", "3") == 0
    assert "a bug is not expected" in terminal.words(), terminal.text()
