"""The command that continues an unfinished run works as it is printed."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import command
from tests.support.projects import write_job
from tests.support.simulator import end_batches, environ_without_key, simulator

SIMULATED = ("--simulate", "--no-wait")


def hint(text: str) -> str:
    """The command in the message about an unfinished run."""
    return text.rpartition("resume with: ")[2].strip()


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (("job.yaml", "--new", *SIMULATED), "runner run job.yaml --simulate"),
        ((".", *SIMULATED, "--select", "tag:nightly"), "runner run . --simulate --select tag:nightly"),
        (("*.yaml", *SIMULATED, "--select=state:new"), "runner run job.yaml --simulate"),
        (("--pending", "new", *SIMULATED, "--", "job.yaml"), "runner run --simulate -- job.yaml"),
        (("job.yaml", *SIMULATED, "--pending=finish"), "runner run job.yaml --simulate --pending=finish"),
        (("--select", "state:new", ".", "--limit", "9", *SIMULATED), "runner run job.yaml --limit 9 --simulate"),
    ],
)
def test_the_printed_command_finishes_the_run(tmp_path: Path, words: tuple[str, ...], printed: str) -> None:
    write_job(tmp_path, tags=["nightly"])
    first = command(tmp_path, environ_without_key(), "run", *words)
    assert (first.returncode, hint(first.stderr)) == (4, printed)
    end_batches(tmp_path / "simulated" / "simulator")
    again = command(tmp_path, environ_without_key(), *shlex.split(printed)[1:])
    assert (again.returncode, "resume with" in again.stderr) == (0, False)


def test_a_module_is_called_again_as_it_was_called(tmp_path: Path) -> None:
    write_job(tmp_path)
    words = [sys.executable, "-m", "runner", "run", "job.yaml", *SIMULATED]
    first = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    end_batches(tmp_path / "simulated" / "simulator")
    again = subprocess.run(hint(first.stderr), cwd=tmp_path, shell=True, capture_output=True, check=False)  # noqa: S602
    assert (first.returncode, again.returncode) == (4, 0)


def test_max_wait_ends_with_4_and_the_command_that_continues(tmp_path: Path) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api", seconds=600) as environ:
        ended = command(tmp_path, environ, "run", "job.yaml", "--yes", "--max-wait", "2s")
        assert (ended.returncode, hint(ended.stderr)) == (4, "runner run job.yaml --yes --max-wait 2s")
    end_batches(tmp_path / "api")
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, "run", "job.yaml", "--max-wait", "8h").returncode == 0


def test_max_wait_must_be_a_time_span(tmp_path: Path) -> None:
    write_job(tmp_path)
    ended = command(tmp_path, environ_without_key(), "run", "job.yaml", "--simulate", "--max-wait", "8")
    assert (ended.returncode, "'8' is not a time span, such as 90m or 8h" in ended.stderr) == (2, True)
