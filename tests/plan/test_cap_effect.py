"""A cap that holds batches back makes a run take as many batch times as there are waves."""

import re
from pathlib import Path
from typing import Any

import pytest

from runner import Plan
from runner.cli.texts.plan import format_plan
from runner.lifecycle.plan.cap_effect import CapWaves, simulate_waves
from tests.support.processes import command
from tests.support.projects import plan_of_edited_job, write_job
from tests.support.simulator import accepted, simulator

JOB: dict[str, Any] = {"rows": 60, "params": {"model": "claude-haiku-5-5", "max_tokens": 1000}}
HARD: dict[str, Any] = {"deadline": {"within": "90m", "hard": True}}


@pytest.mark.parametrize(
    ("batches", "left", "expected", "found"),
    [
        # All fit.
        ([(10, 1.0)] * 3, 3.0, 0.01, CapWaves(3, 3, (30,), 0, 3.0)),
        # Two fit; then 2.5 - 20 * 0.01 = 2.3, again two; then the last.
        ([(10, 1.0)] * 5, 2.5, 0.01, CapWaves(5, 2, (20, 40, 50), 0, 5.0)),
        # Two fit; then 2 - 20 * 0.01 = 1.8, one; then 1.7, one.
        ([(10, 1.0)] * 4, 2.0, 0.01, CapWaves(4, 2, (20, 30, 40), 0, 4.0)),
        # 0.5 of 1.0: five of ten requests; then 0.45 for five that can cost 0.5: four; then 0.41: the last one.
        ([(10, 1.0)], 0.5, 0.01, CapWaves(1, 0, (5, 9, 10), 0, 1.0)),
        # One of two; then 1.2 - 10 * 0.05 = 0.7: seven of ten; then 0.35: the last three.
        ([(10, 1.0)] * 2, 1.2, 0.05, CapWaves(2, 1, (10, 17, 20), 0, 2.0)),
        # Five; then 0.5 - 5 * 0.09 = 0.05, less than a request can cost.
        ([(10, 1.0)], 0.5, 0.09, CapWaves(1, 0, (5,), 5, 1.0)),
        ([(10, 1.0)], 0.09, 0.01, CapWaves(1, 0, (), 10, 1.0)),
        ([(10, 1.0)], -1.0, 0.01, CapWaves(1, 0, (), 10, 1.0)),
        ([], 1.0, 0.0, CapWaves(0, 0, (), 0, 0)),
    ],
)
def test_waves_are_those_computed_by_hand(
    batches: list[tuple[int, float]], left: float, expected: float, found: CapWaves
) -> None:
    made = simulate_waves(batches, left=left, least=0.02, expected=expected)
    assert (made.at_once, made.sent, made.unsent) == (found.at_once, found.sent, found.unsent)
    assert made.batches == found.batches
    assert made.upper_bound == pytest.approx(found.upper_bound)


def test_no_batch_is_split_for_the_last_part_of_the_cap() -> None:
    assert simulate_waves([(10, 1.0)], left=0.5, least=0.5, expected=0.01).sent == ()


def capped(folder: Path, share: float, **changes: Any) -> Plan:
    """The plan of a job whose cap is a share of the most that it can cost."""
    most = plan_of_edited_job(folder, **JOB).cost["max"] or 0.0
    return plan_of_edited_job(folder, **JOB, **changes, limits={"max_cost": most * share})


def waves(made: Plan) -> int:
    """The number of waves or steps that a plan names."""
    return int(re.findall(r"about (\d+) (?:wave|step)", made.cap_effect)[0])


@pytest.mark.parametrize(
    ("share", "words"), [(0.3, "can be in progress at once"), (0.08, "sent one after another")]
)
def test_time_counts_the_waves_of_a_cap(tmp_path: Path, share: float, words: str) -> None:
    made = capped(tmp_path, share)
    seconds = {way.name: way.seconds for way in made.ways}
    assert (words in made.cap_effect, waves(made) > 1) == (True, True)
    assert seconds["batch"] == 3_600 * waves(made)
    assert f"holds batches back, so this takes about {waves(made)} waves, or {waves(made)} hours" in made.duration


def test_deadline_that_the_waves_of_a_cap_miss_is_named(tmp_path: Path) -> None:
    made = capped(tmp_path, 0.5, **HARD)
    [found] = [one for one in made.findings if one.rule == "deadline-missed"]
    assert (found.severity, "misses the deadline" in format_plan(made)) == ("error", True)
    [remedy] = re.findall(r"`limits.max_cost: ([0-9.]+)`", found.message)
    raised = plan_of_edited_job(tmp_path, **JOB, **HARD, limits={"max_cost": float(remedy)})
    assert (raised.findings, raised.cap_effect) == ([], "")


def test_as_many_rows_as_the_cap_lets_in_time_meet_it(tmp_path: Path) -> None:
    made = capped(tmp_path, 0.5, **HARD)
    [rows] = re.findall(r"--limit (\d+)", str(made.findings))
    job = {**JOB, **HARD, "rows": int(rows), "limits": {"max_cost": made.max_cost}}
    assert plan_of_edited_job(tmp_path, **job).findings == []


def test_hard_deadline_behind_a_cap_stops_plan_and_run(tmp_path: Path) -> None:
    cap = capped(tmp_path, 0.3).max_cost
    write_job(tmp_path, **JOB, **HARD, limits={"max_cost": cap})
    with simulator(tmp_path / "api") as environ:
        ended = [command(tmp_path, environ, word, "job.yaml") for word in ("plan", "run")]
    assert ([one.returncode for one in ended], accepted(tmp_path / "api")) == ([2, 2], 0)
    assert "what would meet it" in ended[0].stdout


def test_plan_says_which_requests_will_not_fit(tmp_path: Path) -> None:
    made = capped(tmp_path, 0.01)
    assert "will not fit" in made.cap_effect or "nothing is sent" in made.cap_effect
