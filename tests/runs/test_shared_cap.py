"""A pilot, the job that follows it and all variants share one cost cap."""

from pathlib import Path
from typing import Any

from tests.support.processes import RUN, command
from tests.support.projects import write_job
from tests.support.simulator import bill, simulator

PILOT = ("pilot", "job.yaml", "10", "--yes")


def test_pilot_and_job_share_the_cap(tmp_path: Path) -> None:
    write_job(tmp_path, rows=80)
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, "pilot", "job.yaml", "40", "--yes").returncode == 0
        cap = 1.5 * bill(tmp_path / "api")
        write_job(tmp_path, rows=80, limits={"max_cost": cap})
        planned = command(tmp_path, environ, "plan", "job.yaml").stdout
        assert "the pilot has cost $0.0003 of the cap" in planned
        ended = command(tmp_path, environ, "run", "job.yaml")
        assert (ended.returncode, "it and its pilot have cost up to" in ended.stderr) == (7, True)
    assert bill(tmp_path / "api") <= cap


def test_new_pilot_of_another_variant_counts_besides_its_job(tmp_path: Path) -> None:
    long: dict[str, Any] = {"prompt": {"user": "long " * 200 + "{{ text }}"}}
    variants = {"variants": {"a": {}, "b": {"params.max_tokens": 101}}}
    write_job(tmp_path, rows=10, **variants)
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
        before = bill(tmp_path / "api")
        write_job(tmp_path, rows=80, **variants, **long)
        assert command(tmp_path, environ, "pilot", "job.yaml", "40", "--yes").returncode == 0
        cap = 1.2 * (bill(tmp_path / "api") - before)
        write_job(tmp_path, rows=80, limits={"max_cost": cap}, **variants, **long)
        ended = command(tmp_path, environ, "run", "job.yaml", "--select", "variant:a")
        assert (ended.returncode, "all variants together have cost" in ended.stderr) == (7, True)
    assert bill(tmp_path / "api") - before <= cap


def test_only_the_pilot_just_before_a_run_counts(tmp_path: Path) -> None:
    write_job(tmp_path, rows=40)
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *PILOT).returncode == 0
        assert command(tmp_path, environ, *RUN).returncode == 0
        write_job(tmp_path, rows=41, limits={"max_cost": 1})
        assert "the pilot has cost" not in command(tmp_path, environ, "plan", "job.yaml").stdout


def test_plan_counts_what_a_pilot_leaves_of_the_cap(tmp_path: Path) -> None:
    write_job(tmp_path, rows=80)
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, "pilot", "job.yaml", "40", "--yes").returncode == 0
        cap = 1.5 * bill(tmp_path / "api")
        write_job(tmp_path, rows=80, limits={"max_cost": cap}, deadline="6h")
        planned = command(tmp_path, environ, "plan", "job.yaml").stdout
    assert "is left of the cap: the run will pause with exit code 7" in planned
    assert "misses the deadline" in planned


def test_pilot_in_flight_counts_with_its_upper_bound(tmp_path: Path) -> None:
    write_job(tmp_path, rows=80, limits={"max_cost": 1})
    with simulator(tmp_path / "api", seconds=600) as environ:
        assert command(tmp_path, environ, *PILOT, "--no-wait").returncode == 4
        planned = command(tmp_path, environ, "plan", "job.yaml").stdout
    assert "the pilot has cost up to $" in planned


def test_old_pilot_does_not_count_before_a_new_one(tmp_path: Path) -> None:
    write_job(tmp_path, rows=40, pilot=10, limits={"max_cost": 1})
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *PILOT).returncode == 0
        assert "the pilot has cost" in command(tmp_path, environ, "plan", "job.yaml").stdout
        write_job(tmp_path, rows=40, pilot=10, limits={"max_cost": 1}, prompt={"user": "Edited: {{ text }}"})
        planned = command(tmp_path, environ, "plan", "job.yaml").stdout
    assert ("a sample of 10 rows is sent first" in planned, "the pilot has cost" in planned) == (True, False)


def test_other_variants_count_in_the_plan_of_one(tmp_path: Path) -> None:
    variants: dict[str, Any] = {"variants": {"a": {}, "b": {"params.max_tokens": 101}}, "limits": {"max_cost": 1}}
    write_job(tmp_path, rows=20, **variants)
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
        write_job(tmp_path, rows=30, **variants)
        alone = command(tmp_path, environ, "plan", "job.yaml", "--select", "variant:a", "--json").stdout
        both = command(tmp_path, environ, "plan", "job.yaml", "--json").stdout
    assert ("other variants have cost $" in alone, "other variants have cost" in both) == (True, False)
