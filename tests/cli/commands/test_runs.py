"""The commands that take a run: status and cancel."""

import json
from pathlib import Path

from runner.store.lock import lock_folder
from tests.support.processes import RUN_SIMULATED, command
from tests.support.projects import write_job
from tests.support.simulator import end_batches, environ_without_key


def test_status_shows_real_and_simulated_runs(tmp_path: Path) -> None:
    write_job(tmp_path)
    run = json.loads(command(tmp_path, environ_without_key(), *RUN_SIMULATED, "--json").stdout)
    table = command(tmp_path, environ_without_key(), "status").stdout
    assert [word in table for word in (run["run"], "finished", "20 succeeded", "simulated")] == [True] * 4
    for target in ("job.yaml", run["run"]):
        assert json.loads(command(tmp_path, environ_without_key(), "status", target, "--json").stdout) == run
    assert command(tmp_path, environ_without_key(), "status", "nope").returncode == 2


def test_status_names_the_command_for_a_run_nobody_works_on(tmp_path: Path) -> None:
    write_job(tmp_path)
    assert command(tmp_path, environ_without_key(), *RUN_SIMULATED, "--no-wait").returncode == 4
    shown = command(tmp_path, environ_without_key(), "status").stdout
    assert (" unfinished " in shown, " running " in shown) == (True, False)
    assert "no runner works on it; resume with: runner run job.yaml --resume --simulate\n" in shown
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
