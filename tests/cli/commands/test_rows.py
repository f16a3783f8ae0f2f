"""The command show, in a pipe and on a terminal."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import RUN_SIMULATED, command
from tests.support.projects import SCHEMA, write_job
from tests.support.simulator import environ_without_key
from tests.support.terminals import Terminal

FAILING = {"schema": SCHEMA, "checks": [{"check": "row.id != 'r2'", "message": "never r2"}]}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_job(tmp_path, rows=30, output=FAILING, retry={"attempts": 1})
    assert command(tmp_path, environ_without_key(), *RUN_SIMULATED).returncode == 3
    return tmp_path


def on_terminal(root: Path, *words: str) -> str:
    """What a terminal of 80 columns shows after a command."""
    parent, child = pty.openpty()
    environ = {**environ_without_key(), "COLUMNS": "80", "TERM": "dumb"}
    with subprocess.Popen(
        [sys.executable, "-m", "runner", *words], cwd=root, env=environ, stdout=child, stderr=child
    ):
        os.close(child)
        shown = b""
        try:
            while block := os.read(parent, 65536):
                shown += block
        except OSError:
            pass  # Linux reports the end of a terminal so.
    os.close(parent)
    return shown.decode().replace("\r\n", "\n")


def test_narrow_terminal_breaks_no_outcome(project: Path) -> None:
    with Terminal(project, environ_without_key(), columns=40) as terminal:
        terminal.start("show", "job", "--limit", "2")
        assert terminal.end() == 0
        lines = terminal.lines()
    words = [["key", "outcome"], ["r1", "succeeded"], ["r2", "invalid:"]]
    assert [line.split()[:2] for line in lines[:3]] == words


def test_pipe_gets_a_json_object_per_row(project: Path) -> None:
    ended = command(project, environ_without_key(), "show", "job", "--failed")
    [row] = map(json.loads, ended.stdout.splitlines())
    assert (row["key"], row["reason"], row["row"]["text"]) == ("r2", "invalid: never r2", "text number 2")
    everything = command(project, environ_without_key(), "show", "job.yaml", "--limit", "25")
    assert len(everything.stdout.splitlines()) == 25


def test_terminal_shows_a_table_of_the_first_rows(project: Path) -> None:
    lines = on_terminal(project, "show", "job").splitlines()
    assert lines[0].split() == ["key", "outcome", "answer"]
    assert lines[2].split()[:4] == ["r2", "invalid:", "never", "r2"]
    assert (len(lines), max(map(len, lines)) <= 80) == (22, True)
    assert lines[-1].startswith("the first 20 rows of run ")


def test_terminal_shows_one_row_in_full(project: Path) -> None:
    shown = on_terminal(project, "show", "job", "--key", "r2", "--request")
    assert shown.startswith("r2: invalid\n  reason   invalid: never r2\n  message  never r2\n  batch    msgbatch_")
    assert '"content": "text number 2"' in shown
    assert '\n  answer\n    {\n      "label": ' in shown


def test_terminal_says_if_there_are_no_such_rows(project: Path) -> None:
    assert on_terminal(project, "show", "job", "--outcome", "expired").startswith("no such rows in run ")


def test_unknown_outcome_lists_the_known_ones(project: Path) -> None:
    ended = command(project, environ_without_key(), "show", "job", "--outcome", "failed")
    assert (ended.returncode, "'failed' is not one of succeeded, invalid," in ended.stderr) == (2, True)
