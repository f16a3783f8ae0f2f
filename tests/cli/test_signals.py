"""Ctrl-C on a terminal ends a command with 130, and with the command that continues, at any moment."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event

import pytest

from tests.support.outputs import records
from tests.support.processes import command
from tests.support.projects import write_job
from tests.support.simulator import accepted, environ_without_key, simulator
from tests.support.terminals import CTRL_C, Terminal

QUESTION = "send these requests? [y/N]:"


def press_at(event: str, name: str) -> None:
    """Interrupt this process when it opens or renames a file of this name for the first time."""
    pressed: list[str] = []

    def watch(happened: str, args: tuple[object, ...]) -> None:
        path = args[happened == "os.rename"] if happened in ("os.rename", "os.mkdir", "open") else None
        if happened == event and not pressed and isinstance(path, str | os.PathLike) and Path(path).name == name:
            pressed.append(name)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)  # the signal is handled before anything else happens

    sys.addaudithook(watch)


@dataclass
class Finger:
    """Presses Ctrl-C on a terminal the first time that the API reaches a moment."""

    moment: str
    terminal: Terminal | None = None

    def __call__(self, now: str) -> None:
        if now == self.moment and self.terminal is not None:
            terminal, self.terminal = self.terminal, None
            terminal.type(CTRL_C)
            terminal.wait_for("stopping safely")


def assert_continues(root: Path, environ: dict[str, str], shown: str, *, batches: int = 3) -> None:
    """What was printed holds a command that finishes the job, and pays nothing twice."""
    assert ("Aborted" in shown, "Traceback" in shown, "runner run job.yaml" in shown) == (False, False, True)
    assert command(root, environ, "run", "job.yaml", "--yes").returncode == 0
    assert (len(records(root / "out" / "all.jsonl")), accepted(root / "api")) == (20, batches)


BEFORE = {
    "reading": partial(press_at, "open", "rows.csv"),
    "preparing": partial(press_at, "os.rename", "rows.jsonl"),
}


@pytest.mark.parametrize("phase", BEFORE)
def test_ctrl_c_before_the_question_sends_nothing(tmp_path: Path, phase: str) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api") as environ, Terminal(tmp_path, environ) as terminal:
        terminal.start("run", "job.yaml", before=BEFORE[phase])
        assert (terminal.end(), accepted(tmp_path / "api")) == (130, 0)
        assert "stopped before anything of the new run was sent" in terminal.words()
        assert_continues(tmp_path, environ, terminal.words())


def test_ctrl_c_while_the_api_counts_sends_nothing(tmp_path: Path) -> None:
    write_job(tmp_path)
    press = Finger("count_tokens")
    with simulator(tmp_path / "api", on=press) as environ, Terminal(tmp_path, environ) as terminal:
        press.terminal = terminal
        terminal.start("run", "job.yaml")
        assert (terminal.end(), accepted(tmp_path / "api")) == (130, 0)
        assert_continues(tmp_path, environ, terminal.words())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_at_the_question_sends_nothing(tmp_path: Path, number: int, code: int) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api") as environ, Terminal(tmp_path, environ) as terminal:
        terminal.start("run", "job.yaml")
        terminal.wait_for(QUESTION)
        terminal.signal(number)
        assert (terminal.end(), accepted(tmp_path / "api")) == (code, 0)
        assert "stopped at the question: none of these requests were sent" in terminal.words()
        assert_continues(tmp_path, environ, terminal.words())


def test_declining_is_no_mistake_and_names_the_command(tmp_path: Path) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api") as environ, Terminal(tmp_path, environ) as terminal:
        terminal.start("run", "job.yaml")
        terminal.wait_for(QUESTION)
        terminal.type("n\n")
        assert (terminal.end(), accepted(tmp_path / "api")) == (130, 0)
        assert "you declined: none of these requests were sent start again with:" in terminal.words()
        assert command(tmp_path, environ, "status").stderr == "no runs yet\n"
        assert_continues(tmp_path, environ, terminal.words())


@pytest.mark.parametrize(("typed", "said"), [("stop\n", "you stopped"), (CTRL_C, "stopped at the question")])
def test_stopping_at_a_pending_run_says_that_it_stays(tmp_path: Path, typed: str, said: str) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api") as environ, Terminal(tmp_path, environ) as terminal:
        assert command(tmp_path, environ, "run", "job.yaml", "--yes", "--no-wait").returncode == 4
        write_job(tmp_path, rows=21)
        terminal.start("run", "job.yaml")
        terminal.wait_for("or stop?")
        terminal.type(typed)
        assert (terminal.end(), accepted(tmp_path / "api")) == (130, 3)
        assert f"{said}: nothing more was sent, and nothing was canceled: run " in terminal.words()
        assert "stays unfinished start again with: " in terminal.words()


def test_ctrl_c_at_the_question_about_several_specs(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(write_job(tmp_path, name="other").read_text())
    write_job(tmp_path)
    with simulator(tmp_path / "api") as environ, Terminal(tmp_path, environ, columns=60) as terminal:
        terminal.start("run", "job.yaml", "other.yaml")
        terminal.wait_for(QUESTION)
        terminal.type(CTRL_C)
        assert (terminal.end(), accepted(tmp_path / "api")) == (130, 0)
        assert "runner run job.yaml other.yaml" in terminal.words()


@pytest.mark.parametrize("moment", ["create", "created", "retrieve", "results"])
def test_ctrl_c_after_the_question_is_a_safe_stop(tmp_path: Path, moment: str) -> None:
    write_job(tmp_path)
    press = Finger(moment)
    with simulator(tmp_path / "api", on=press) as environ, Terminal(tmp_path, environ) as terminal:
        press.terminal = terminal
        terminal.start("run", "job.yaml")
        terminal.wait_for(QUESTION)
        terminal.type("y\n")
        assert terminal.end() == 130
        assert "is unfinished" in terminal.words()
        assert_continues(tmp_path, environ, terminal.words())


def test_ctrl_c_while_outputs_are_written_leaves_none(tmp_path: Path) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api") as environ, Terminal(tmp_path, environ) as terminal:
        terminal.start("run", "job.yaml", "--yes", before=partial(press_at, "os.mkdir", "out"))
        assert terminal.end() == 130
        assert not (tmp_path / "out" / "all.jsonl").exists()
        assert_continues(tmp_path, environ, terminal.words())


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    write_job(tmp_path)
    hangs, goes_on = Event(), Event()

    def hang(moment: str) -> None:
        if moment == "create":
            hangs.set()
            goes_on.wait(60)

    with simulator(tmp_path / "api", on=hang) as environ, Terminal(tmp_path, environ) as terminal:
        terminal.start("run", "job.yaml", "--yes")
        assert hangs.wait(60)
        terminal.type(CTRL_C)
        terminal.wait_for("press Ctrl-C again")
        terminal.type(CTRL_C)
        assert (terminal.end(), terminal.screen.cursor.hidden) == (-signal.SIGINT, False)
        goes_on.set()


@pytest.mark.parametrize("words", [("plan", "job.yaml"), ("render", "job.yaml"), ("validate", "job.yaml")])
def test_ctrl_c_in_a_command_that_sends_nothing(tmp_path: Path, words: tuple[str, ...]) -> None:
    write_job(tmp_path)
    with Terminal(tmp_path, environ_without_key()) as terminal:
        terminal.start(*words, before=partial(press_at, "open", "rows.csv"))
        assert terminal.end() == 130
        assert ("stopped" in terminal.words(), "Traceback" in terminal.text()) == (True, False)


IMPORT_INTERRUPTED = """
import os, signal, sys
sys.addaudithook(lambda name, args: (name, args[0]) == ("import", "click") and os.kill(os.getpid(), signal.SIGINT))
from runner.__main__ import main
main()
"""


def test_ctrl_c_during_the_import_of_the_command() -> None:
    words = [sys.executable, "-c", IMPORT_INTERRUPTED]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (130, "")
