"""A plan compares the expected time and cost of every way, and says what would meet a missed deadline."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import Plan, Summary, load_spec, plan
from runner.errors import InputError
from tests.support.outputs import records
from tests.support.processes import RUN, command
from tests.support.projects import plan_of_edited_job, write_job
from tests.support.simulator import accepted, answered, environ_without_key, simulator

LONG = {"model": "claude-haiku-5-5", "max_tokens": 64_000}
"""Params whose answers are expected to take four minutes each."""
SLOW: dict[str, Any] = {"mode": "auto", "rows": 600, "params": LONG, "deadline": "30m"}
"""A job that takes five hours synchronously."""


def missed(made: Plan) -> list[str]:
    """The severities of the finding that a plan misses its deadline."""
    return [one.severity for one in made.findings if one.rule == "deadline-missed"]


def remedies(made: Plan) -> list[str]:
    """What a plan says would meet its deadline."""
    [message] = [one.message for one in made.findings if one.rule == "deadline-missed"]
    return message.partition("what would meet it: ")[2].split(", or ")


def seconds(made: Plan) -> dict[str, float]:
    return {way.name: way.seconds for way in made.ways}


def test_slow_synchronous_requests_do_not_replace_a_batch(tmp_path: Path) -> None:
    made = plan_of_edited_job(tmp_path, **SLOW)
    assert (made.mode, seconds(made)["batch"]) == ("batch", 3_600)
    assert seconds(made)["sync"] > 4 * 3_600
    assert (made.mode_reason, missed(made)) == (
        "because it is the fastest way, although it misses the deadline",
        ["warning"],
    )
    assert [way.meets_deadline for way in made.ways] == [False] * 5


def test_plan_prints_time_and_cost_of_each_way(tmp_path: Path) -> None:
    write_job(tmp_path, **SLOW)
    printed = command(tmp_path, environ_without_key(), "plan", "job.yaml").stdout
    table = printed[printed.index("  ways ") :].splitlines()
    assert [" ".join(line.split()[:2]) for line in table[:2]] == ["ways synchronously", "*in batches"]
    assert "4.8 hours" in table[0] and "  1 hour  " in table[1]
    assert all(line.count("$") == 1 and line.endswith("misses the deadline") for line in table[:2])
    shown = json.loads(command(tmp_path, environ_without_key(), "plan", "job.yaml", "--json").stdout)
    assert [list(way) for way in shown["ways"]] == [["name", "seconds", "cost", "meets_deadline"]] * 5


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        (SLOW, 3),
        ({**SLOW, "deadline": "4h", "on_deadline": "wait"}, 3),
        ({**SLOW, "mode": "sync"}, 3),
        ({**SLOW, "mode": "sync", "deadline": "2h"}, 4),
        ({**SLOW, "mode": "batch", "rows": 20}, 2),
        ({**SLOW, "deadline": "2m"}, 1),
        ({**SLOW, "deadline": "2h", "limits": {"max_cost": 0.05}}, 2),
    ],
)
def test_every_remedy_of_a_missed_deadline_works(tmp_path: Path, changes: dict[str, Any], count: int) -> None:
    found = remedies(plan_of_edited_job(tmp_path, **changes))
    assert len(found) == count, found
    for remedy in found:
        path, limit = write_job(tmp_path, **changes), None
        spec = json.loads(path.read_text())
        for key, value in re.findall(r"`([\w.]+): (\S+?)`", remedy):
            outer, _, inner = key.rpartition(".")
            number = float(value) if "." in value else int(value) if value.isdecimal() else value
            (spec.setdefault(outer, {}) if outer else spec)[inner] = number
        if words := re.search(r"--limit (\d+)", remedy):
            limit = int(words[1])
        path.write_text(json.dumps(spec))
        made = plan(load_spec(path), offline=True, limit=limit)
        assert missed(made) == [], remedy


def test_one_row_more_than_the_plan_names_misses_it(tmp_path: Path) -> None:
    [rows, *_] = remedies(plan_of_edited_job(tmp_path, **SLOW))
    most = int(re.findall(r"--limit (\d+)", rows)[0])
    assert missed(plan_of_edited_job(tmp_path, **{**SLOW, "rows": most})) == []
    assert missed(plan_of_edited_job(tmp_path, **{**SLOW, "rows": most + 1})) == ["warning"]


def test_missed_hard_deadline_stops_before_anything_is_sent(
    tmp_path: Path, run_job: Callable[..., Summary]
) -> None:
    hard = {"deadline": {"within": "30m", "hard": True}}
    assert missed(plan_of_edited_job(tmp_path, **{**SLOW, **hard})) == ["error"]
    with pytest.raises(InputError, match="what would meet it"):
        run_job()
    with simulator(tmp_path / "api") as environ:
        ended = [command(tmp_path, environ, *words) for words in (RUN, ("plan", "job.yaml"))]
    assert [one.returncode for one in ended] == [2, 2]
    assert (accepted(tmp_path / "api"), answered(tmp_path / "api")) == (0, [])
    write_job(tmp_path, rows=60, mode="auto", **hard)
    assert run_job().outcomes == {"succeeded": 60}


def test_deadline_that_only_the_cap_prevents_is_missed(tmp_path: Path) -> None:
    job = {"mode": "auto", "rows": 60, "deadline": "30m"}
    cost = plan_of_edited_job(tmp_path, **job).cost["sync"] or 0
    made = plan_of_edited_job(tmp_path, **job, limits={"max_cost": round(cost * 0.9, 6)})
    assert (made.mode, missed(made)) == ("batch", ["warning"])
    assert "`limits.max_cost: 0.01`" in remedies(made)


def test_few_requests_with_a_large_discount_go_by_batch(tmp_path: Path) -> None:
    params = {"model": "claude-opus-5-5", "max_tokens": 64_000}
    made = plan_of_edited_job(tmp_path, mode="auto", params=params)
    assert ((made.cost["sync"] or 0) - (made.cost["batch"] or 0) > 1, made.mode) == (True, "batch")
    assert plan_of_edited_job(tmp_path, mode="auto").mode == "sync"


def test_maximum_counts_what_a_deadline_may_send_synchronously(tmp_path: Path) -> None:
    batched = plan_of_edited_job(tmp_path, deadline="6h", on_deadline="wait").cost["max"] or 0
    hurried = plan_of_edited_job(tmp_path, deadline="6h").cost["max"]
    assert hurried == pytest.approx(2 * batched, abs=2e-6)


def test_time_of_batches_is_measured_in_earlier_runs(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=60)
    count = len(run_job().batches)
    made = plan_of_edited_job(tmp_path, rows=60, mode="auto", deadline="30m", reuse=False)
    assert (seconds(made)["batch"] < 1_800, made.mode, missed(made)) == (True, "batch", [])
    assert f"as measured on {count} batches here; all end within 24 hours" in made.duration
    # Batches of 8 requests say little about one of 200.
    large = plan_of_edited_job(tmp_path, rows=200, batch={"max_requests": 20_000}, reuse=False)
    assert seconds(large)["batch"] == 3_600


def test_time_of_requests_is_measured_in_earlier_runs(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, mode="sync")
    assert "as measured on" not in plan_of_edited_job(tmp_path, mode="sync").duration
    run_job()
    made = plan_of_edited_job(tmp_path, mode="sync", reuse=False)
    assert made.duration.endswith("8 requests at a time, as measured on 20 requests here")
    [folder] = (tmp_path / ".runner" / "runs").iterdir()
    took = sum(one["seconds"] for path in (folder / "results").glob("*.jsonl") for one in records(path))
    assert seconds(made)["sync"] == pytest.approx(took / 8, abs=0.1)
