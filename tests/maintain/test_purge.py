"""A purged run keeps nothing of its rows and answers, and is not sent again."""

from pathlib import Path

import pytest

from tests.support.processes import RUN, command
from tests.support.projects import EACH_ONCE
from tests.support.simulator import accepted, paid, simulator
from tests.support.terminals import CTRL_C, Terminal


def holders(root: Path, text: bytes) -> list[str]:
    """The files of the state that hold a text."""
    return [path.name for path in (root / ".runner").rglob("*") if path.is_file() and text in path.read_bytes()]


def test_purged_run_holds_no_rows_or_answers(project: Path) -> None:
    with simulator(project / "api") as environ:
        assert command(project, environ, *RUN).returncode == 0
        assert holders(project, b"text number 7") != []
        before = (project / "out/all.jsonl").read_bytes()
        ended = command(project, environ, "purge", "job.yaml", "--yes")
        assert (ended.returncode, "was purged" in ended.stdout) == (0, True)
        assert (holders(project, b"text number 7"), holders(project, b'"label')) == ([], ["spec.json"])
        assert command(project, environ, "purge", "job.yaml", "--yes").returncode == 0
        assert (
            "because the answers of earlier runs were purged"
            in command(project, environ, "plan", "job.yaml").stdout
        )
        again = command(project, environ, *RUN)
        assert (again.returncode, "were purged" in again.stderr) == (0, True)
        assert command(project, environ, "doctor").returncode == 0
        assert "20 succeeded" in command(project, environ, "status").stdout
    assert ((project / "out/all.jsonl").read_bytes(), paid(project / "api")) == (before, EACH_ONCE)


def test_purge_remote_deletes_the_api_copies(project: Path) -> None:
    with simulator(project / "api") as environ:
        assert command(project, environ, *RUN).returncode == 0
        ended = command(project, environ, "purge", "job.yaml", "--remote", "--yes")
        assert (ended.returncode, "3 batches at the API" in ended.stdout) == (0, True)
        assert command(project, environ, "purge", "job.yaml", "--remote", "--yes").returncode == 0
    assert accepted(project / "api") == 0


def test_an_unfinished_run_is_not_purged(project: Path) -> None:
    with simulator(project / "api", seconds=60) as environ:
        assert command(project, environ, *RUN, "--no-wait").returncode == 4
        ended = command(project, environ, "purge", "job.yaml", "--yes")
    assert (ended.returncode, "first" in ended.stderr) == (2, True)
    assert holders(project, b"text number 7") != []


@pytest.mark.parametrize(
    ("typed", "said"), [("n\n", "you declined"), (CTRL_C, "stopped at the question"), ("y\n", "was purged")]
)
def test_declining_to_purge_is_no_mistake(project: Path, typed: str, said: str) -> None:
    with simulator(project / "api") as environ, Terminal(project, environ, columns=50) as terminal:
        assert command(project, environ, *RUN).returncode == 0
        terminal.start("purge", "job.yaml")
        terminal.wait_for("[y/N]:")
        terminal.type(typed)
        assert (terminal.end(), said in terminal.words()) == (0 if typed == "y\n" else 130, True)
        declined = f"{said}: nothing was purged start again with:"
        assert (declined in terminal.words()) == (typed != "y\n")
    assert (holders(project, b"text number 7") == []) == (typed == "y\n")


def test_only_old_enough_runs_are_purged(project: Path) -> None:
    with simulator(project / "api") as environ:
        assert command(project, environ, *RUN).returncode == 0
        assert "no runs to purge" in command(project, environ, "purge", "--older-than", "30d", "--yes").stderr
        assert "was purged" in command(project, environ, "purge", "--older-than", "0h", "--yes").stdout


@pytest.mark.parametrize(
    "words", [["purge"], ["purge", "--older-than", "soon"], ["purge", "job.yaml"], ["purge", "x"]]
)
def test_ambiguous_purge_removes_nothing(project: Path, words: list[str]) -> None:
    with simulator(project / "api") as environ:
        assert command(project, environ, *RUN).returncode == 0
        assert command(project, environ, *words).returncode == 2
    assert holders(project, b"text number 7") != []
