"""A plan says what the pilot of a spec sends first, and only a finished pilot is judged."""

from pathlib import Path

from tests.support.processes import RUN, RUN_SIMULATED, command
from tests.support.projects import SPEC, write_job
from tests.support.simulator import end_batches, environ_without_key, simulator

KEYS = environ_without_key()


def test_plan_says_that_a_pilot_is_sent_first(tmp_path: Path) -> None:
    write_job(tmp_path, rows=60, pilot={"rows": 20, "max_failed": 0.05})
    line = "  pilot     a sample of 20 rows is sent first, and the others if at most 5% of it fail\n"
    with simulator(tmp_path / "api") as environ:
        assert line in command(tmp_path, environ, "plan", "job.yaml").stdout
        assert "  pilot" not in command(tmp_path, environ, "plan", "job.yaml", "--limit", "5").stdout
        assert command(tmp_path, environ, "pilot", "job.yaml", "20", "--yes").returncode == 0
        assert "  pilot" not in command(tmp_path, environ, "plan", "job.yaml").stdout


def test_unfinished_pilot_is_not_judged(tmp_path: Path) -> None:
    write_job(tmp_path, pilot=50)
    with simulator(tmp_path / "api", seconds=600) as environ:
        assert "a sample of 20 rows is sent first" in command(tmp_path, environ, "plan", "job.yaml").stdout
        command(tmp_path, environ, *RUN, "--no-wait")
        planned = command(tmp_path, environ, "plan", "job.yaml").stdout
        assert "is finished first, which is one, and the others if at most 10% of it fail" in planned
        anew = command(tmp_path, environ, *RUN, "--no-wait", "--new")
        assert (anew.returncode, "20 to send" in anew.stderr) == (4, True)


def test_new_run_of_an_edited_spec_begins_with_its_pilot(tmp_path: Path) -> None:
    write_job(tmp_path, pilot=5)
    with simulator(tmp_path / "api", seconds=600) as environ:
        command(tmp_path, environ, *RUN, "--no-wait", "--skip-pilot")
        write_job(tmp_path, pilot=5, prompt={"user": "Edited: {{ text }}"})
        planned = command(tmp_path, environ, "plan", "job.yaml").stdout
        assert ("pending   run" in planned, "  pilot" in planned) == (True, False)
        for _ in range(2):
            anew = command(tmp_path, environ, *RUN, "--no-wait", "--new")
            assert (anew.returncode, "5 to send" in anew.stderr) == (4, True)
            write_job(tmp_path, pilot=5, prompt={"user": "Edited twice: {{ text }}"})


def test_plan_says_that_the_pilot_was_not_good_enough(tmp_path: Path) -> None:
    never = {"check": "score is string", "message": "the score is no text"}
    output = {**SPEC["output"], "checks": [never]}
    write_job(tmp_path, rows=60, pilot={"rows": 20, "max_failed": 0}, output=output, retry={"attempts": 1})
    assert command(tmp_path, KEYS, *RUN_SIMULATED).returncode == 3
    planned = command(tmp_path, KEYS, "plan", "job.yaml", "--simulate")
    assert (planned.returncode, "is not good enough: 20 of 20 rows failed" in planned.stdout) == (0, True)


def test_canceled_pilot_is_followed_by_a_new_one(tmp_path: Path) -> None:
    write_job(tmp_path, rows=40, pilot=20)
    with simulator(tmp_path / "api", seconds=600) as environ:
        command(tmp_path, environ, *RUN, "--no-wait")
        assert command(tmp_path, environ, "cancel", "job.yaml").returncode == 0
    end_batches(tmp_path / "api")
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, *RUN)
    assert (ended.returncode, "40 rows, 40 succeeded" in ended.stdout) == (0, True), ended.stderr
    assert "run again to begin" not in ended.stderr


def test_pilot_that_its_deadline_cancels_is_no_verdict(tmp_path: Path) -> None:
    write_job(tmp_path, rows=40, pilot=20, deadline="0.1s", on_deadline="cancel")
    with simulator(tmp_path / "api", seconds=3) as environ:
        ended = command(tmp_path, environ, *RUN)
        assert (ended.returncode, "was canceled, so it says nothing about the job" in ended.stderr) == (3, True)
        write_job(tmp_path, rows=40, pilot=20)
        assert "a sample of 20 rows is sent first" in command(tmp_path, environ, "plan", "job.yaml").stdout
