"""What a person sees on a terminal is what a pipe gets, at any width, and nothing is painted over."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.outputs import normalize
from tests.support.processes import RUN, RUN_SIMULATED, command
from tests.support.projects import SPEC, write_job
from tests.support.simulator import end_batches, environ_without_key, simulator
from tests.support.terminals import CTRL_C, Terminal

QUESTION = "send these requests? [y/N]:"
WIDTHS = [60, 80, 120]


def words(text: str) -> str:
    return " ".join(normalize(text).split())


@pytest.mark.parametrize("columns", WIDTHS)
def test_every_line_of_the_plan_stays_on_the_screen(tmp_path: Path, columns: int) -> None:
    write_job(tmp_path, prompt={"system": "Label the text.", "user": "{{ text }}"})
    with simulator(tmp_path / "api") as environ, Terminal(tmp_path, environ, columns=columns, rows=12) as terminal:
        plan = command(tmp_path, environ, "plan", "job.yaml").stdout
        terminal.start("run", "job.yaml")
        terminal.wait_for(QUESTION)
        terminal.type("y\n")
        assert terminal.end() == 0
        shown = words(terminal.text())
        assert f"{words(plan)} {QUESTION} y" in shown
        piped = command(tmp_path, environ, "run", "job.yaml").stdout
        assert "job: 20 rows, 20 succeeded" in shown
        assert words(piped).partition(" run ")[2] in shown


@pytest.mark.parametrize("columns", WIDTHS)
def test_no_id_and_no_word_is_cut(tmp_path: Path, columns: int) -> None:
    write_job(tmp_path, name="a_job_with_quite_a_long_name")
    with simulator(tmp_path / "api") as environ, Terminal(tmp_path, environ, columns=columns) as terminal:
        terminal.start("run", "job.yaml", "--yes")
        assert terminal.end() == 0
        run = json.loads(command(tmp_path, environ, "status", "--json").stdout)["run"]
        terminal.start("status")
        assert terminal.end() == 0
        lines = terminal.lines()
        assert sum(run in line for line in lines) >= 3
        shown = terminal.text().rpartition("resume with")[2].rpartition(" wrote ")[2]
        assert ("a_job_with_quite_a_long_name" in shown, "finished" in shown, "…" in shown) == (True, True, False)


MESSAGES = [
    ["validate", "bad.yaml"],
    ["validate", "job.yaml"],
    ["plan", "bad.yaml"],
    ["status", "nothing-of-this-name-has-ever-run"],
    ["doctor"],
    ["cancel", "job.yaml"],
    ["show", "job"],
    ["init", "classify", "x"],
    ["init", "--list"],
    ["explain"],
    ["--help"],
    ["status", "--help"],
    ["simulate", "--list-faults"],
    ["run", "job.yaml", "--limit", "a-word-where-a-number-belongs"],
]


@pytest.mark.parametrize("words", MESSAGES, ids=[" ".join(words)[:40] for words in MESSAGES])
def test_no_message_is_broken_inside_a_word(tmp_path: Path, words: list[str]) -> None:
    write_job(tmp_path, prompt={"user": "{{ txet }}"}).rename(tmp_path / "bad.yaml")
    (tmp_path / "bad.yaml").write_text((tmp_path / "bad.yaml").read_text().replace(", ", ",\n"))
    write_job(tmp_path)
    piped = command(tmp_path, environ_without_key(), *words)
    shutil.rmtree(tmp_path / "x", ignore_errors=True)
    with Terminal(tmp_path, environ_without_key(), columns=40) as terminal:
        terminal.start(*words)
        assert terminal.end() == piped.returncode
        seen = set(terminal.words().split())
    expected = {word for word in (piped.stdout + piped.stderr).split() if len(word) <= 36}
    assert {word for word in expected if not word.startswith("^")} - seen == set()


def test_status_of_mixed_outcomes_is_whole_at_any_width(tmp_path: Path) -> None:
    environ, check = environ_without_key(), {"check": "row.id not in ('r1', 'r2')", "message": "odd"}
    write_job(tmp_path, name="tickets", output={**SPEC["output"], "checks": [check]})
    assert command(tmp_path, environ, *RUN_SIMULATED).returncode == 3
    for columns in (60, 76, 80, 84, 88, 120):
        with Terminal(tmp_path, environ, columns=columns) as terminal:
            terminal.start("status")
            assert terminal.end() == 0
            shown = terminal.words()
        assert {"succeeded,", "invalid", "collected", "cost"} <= set(shown.split())
        assert ("…" in shown, "simulated" in shown) == (False, True)


def test_progress_shows_money_and_the_next_look(tmp_path: Path) -> None:
    write_job(tmp_path, batch={"max_requests": 8, "poll_seconds": 30})
    with simulator(tmp_path / "api", seconds=600) as environ, Terminal(tmp_path, environ) as terminal:
        terminal.start("run", "job.yaml", "--yes")
        terminal.wait_for("next look in 2")
        assert "$0.0000 so far, estimated $0.0003" in terminal.words()
        terminal.type(CTRL_C)
        assert terminal.end() == 130


def test_progress_of_a_simulated_run_says_so_beside_its_money(tmp_path: Path) -> None:
    write_job(tmp_path)
    with Terminal(tmp_path, environ_without_key()) as terminal:
        terminal.start("run", "job.yaml", "--simulate")
        terminal.wait_for("estimated $0.0003 (simulated)")
        assert terminal.end() == 0


def test_progress_shows_an_end_once_a_batch_has_ended(tmp_path: Path) -> None:
    write_job(tmp_path, batch={"max_requests": 8, "poll_seconds": 0.1})
    with simulator(tmp_path / "api", seconds=3600) as environ:
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
    end_batches(tmp_path / "api", limit=1)
    with simulator(tmp_path / "api", seconds=3600) as environ, Terminal(tmp_path, environ) as terminal:
        terminal.start(*RUN)
        terminal.wait_for(" left (until ")


def test_a_count_moves_while_a_big_source_is_read(tmp_path: Path) -> None:
    write_job(tmp_path, rows=150_000, batch={})
    with Terminal(tmp_path, environ_without_key()) as terminal:
        terminal.start("plan", "job.yaml", "--offline")
        terminal.wait_for("rows read so far")
        assert terminal.end() == 0
        assert "so far" not in terminal.words()


def test_colour_is_for_terminals_that_want_it(tmp_path: Path) -> None:
    write_job(tmp_path)
    plain = {**environ_without_key(), "NO_COLOR": "1"}
    for environ, colored in ((environ_without_key(), True), (plain, False), ({**plain, "TERM": "dumb"}, False)):
        with Terminal(tmp_path, environ) as terminal:
            terminal.start("run", "job.yaml", "--simulate")
            assert terminal.end() == 0
            assert (b"\x1b[32m20 succeeded" in terminal.raw) == colored
    assert b"\x1b[" not in terminal.raw


def test_log_lines_in_a_file_have_date_and_zone(tmp_path: Path) -> None:
    write_job(tmp_path)
    words = [sys.executable, "-m", "runner", "run", "job.yaml", "--simulate"]
    environ = {**environ_without_key(), "TZ": "Asia/Kolkata"}
    done = subprocess.run(words, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True)
    times = [line.split()[0] for line in done.stderr.splitlines() if " job: " in line]
    assert times
    assert all(time[4] == "-" and time[10] == "T" and time.endswith("+05:30") for time in times)
