"""The commands that take a run: status and cancel."""

import json
import re
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path

from runner.store.lock import lock_folder
from tests.support.processes import RUN_SIMULATED, command
from tests.support.projects import SPEC, write_job
from tests.support.simulator import end_batches, environ_without_key


def test_status_shows_real_and_simulated_runs(tmp_path: Path) -> None:
    write_job(tmp_path)
    run = json.loads(command(tmp_path, environ_without_key(), *RUN_SIMULATED, "--json").stdout)
    table = command(tmp_path, environ_without_key(), "status").stdout
    assert [word in table for word in (run["run"], "finished", "20 succeeded", "simulated")] == [True] * 4
    for target in ("job.yaml", run["run"]):
        assert json.loads(command(tmp_path, environ_without_key(), "status", target, "--json").stdout) == run
    assert command(tmp_path, environ_without_key(), "status", "nope").returncode == 2


def test_status_of_a_folder_shows_the_newest_run_of_each_spec(tmp_path: Path) -> None:
    text = write_job(tmp_path).read_text()
    (tmp_path / "specs").mkdir()
    for name in ("first", "second", "third"):
        (tmp_path / "specs" / f"{name}.yaml").write_text(text.replace('"job"', f'"{name}"'))
    environ = environ_without_key()
    for words in (["specs/first.yaml"], ["specs/first.yaml", "--new"], ["specs/second.yaml"]):
        assert command(tmp_path, environ, "run", *words, "--simulate").returncode == 0
    (tmp_path / "specs" / "second.yaml").write_text(text.replace('"job"', '"second"').replace('"key"', '"kye"'))
    for targets in (["specs/"], ["specs/*.yaml"], ["first", "specs/second.yaml", "specs"]):
        shown = command(tmp_path, environ, "status", *targets)
        assert [shown.stdout.count(name) for name in ("first", "second", "third")] == [1, 1, 0]
        assert shown.stderr == "no run yet: specs/third.yaml\n"
        assert "none yet" not in shown.stdout
    assert command(tmp_path, environ, "status", "--json", "specs").stdout.count('"failures":[]') == 2


def test_status_of_a_folder_without_specs_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "specs").mkdir()
    shown = command(tmp_path, environ_without_key(), "status", "specs")
    assert (shown.returncode, "the folder has no specs" in shown.stderr) == (2, True)


def test_failures_of_several_specs_are_told_apart(tmp_path: Path) -> None:
    check = {"check": "row.id != 'r1'", "message": "odd"}
    text = write_job(tmp_path, output={**SPEC["output"], "checks": [check]}).read_text()
    (tmp_path / "other.yaml").write_text(text.replace('"job"', '"other"'))
    assert command(tmp_path, environ_without_key(), "run", ".", "--simulate").returncode == 3
    shown = command(tmp_path, environ_without_key(), "status", ".").stdout
    runs = re.findall(r"^(job|other): run (\w+)\n  failed  1 row  invalid: odd$", shown, re.MULTILINE)
    assert [f"  show    runner show {run} --failed" in shown for _, run in runs] == [True, True]


def test_commands_named_for_another_project_work_from_here(tmp_path: Path) -> None:
    check = {"check": "row.id != 'r1'", "message": "odd"}
    (tmp_path / "my jobs").mkdir()
    write_job(tmp_path / "my jobs", output={**SPEC["output"], "checks": [check]}, retry={"attempts": 1})
    environ = environ_without_key()
    ran = command(tmp_path, environ, "run", "my jobs/job.yaml", "--simulate")
    shown = command(tmp_path, environ, "status", "my jobs/job.yaml")
    for text in (ran.stdout, shown.stdout):
        lines = [line.split(maxsplit=1)[1] for line in text.splitlines() if line.startswith(("  show", "  again"))]
        show, again = (shlex.split(line)[1:] for line in lines)
        assert "text number 1" in command(tmp_path, environ, *show).stdout
        assert command(tmp_path, environ, *again, "--json").returncode in (0, 3)


def test_commands_are_named_as_this_one_was_called(tmp_path: Path) -> None:
    check = {"check": "row.id != 'r1'", "message": "odd"}
    write_job(tmp_path, output={**SPEC["output"], "checks": [check]}, retry={"attempts": 1})
    environ = environ_without_key()
    assert command(tmp_path, environ, *RUN_SIMULATED).returncode == 3
    called = partial(subprocess.run, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True)
    shown = called([sys.executable, "-m", "runner", "status", "job"]).stdout
    [line] = re.findall(r"^  show +(.*)", shown, re.MULTILINE)
    assert "text number 1" in called(shlex.split(line)).stdout


def test_status_names_the_command_for_a_run_nobody_works_on(tmp_path: Path) -> None:
    write_job(tmp_path)
    assert command(tmp_path, environ_without_key(), *RUN_SIMULATED, "--no-wait").returncode == 4
    shown = command(tmp_path, environ_without_key(), "status").stdout
    assert (" unfinished " in shown, " running " in shown) == (True, False)
    assert "no runner works on it\n  resume with: runner run job.yaml --resume --simulate\n" in shown
    with lock_folder(tmp_path / "simulated" / ".runner"):
        shown = command(tmp_path, environ_without_key(), "status").stdout
    assert (" running " in shown, "resume with" in shown) == (True, False)


def test_cancel_ends_a_simulated_run(tmp_path: Path) -> None:
    write_job(tmp_path)
    assert command(tmp_path, environ_without_key(), *RUN_SIMULATED, "--no-wait").returncode == 4
    end_batches(tmp_path / "simulated" / ".runner" / "simulator", in_seconds=600)
    canceled = command(tmp_path, environ_without_key(), "cancel", "job.yaml")
    collect = "  collect its finished results with: runner run job.yaml --resume --simulate\n"
    assert (canceled.returncode, canceled.stdout.endswith(collect)) == (0, True)
    done = command(tmp_path, environ_without_key(), *RUN_SIMULATED)
    assert (done.returncode, "canceled" in done.stdout) == (3, True)
    assert command(tmp_path, environ_without_key(), "cancel", "job.yaml").returncode == 2
