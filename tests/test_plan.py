"""What a run would send and cost is known before the first paid byte."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import Plan, Summary, load_spec, plan
from runner.errors import InputError
from tests.jobs import SPEC, accepted, command, paid, simulator, write_job
from tests.test_cli import environ_without_key

PLAN_KEYS = ["rows", "new", "reused", "batches", "input_tokens", "output_tokens", "cost", "findings"]


def plan_of_edited_job(root: Path, **changes: Any) -> Plan:
    """The plan of the job after it was written anew with these changes."""
    made: Plan = plan(load_spec(write_job(root, **changes)), offline=True)
    return made


def test_plan_of_a_first_run_lists_what_is_sent(tmp_path: Path) -> None:
    made = plan_of_edited_job(tmp_path)
    assert (made.rows, made.new, made.reused, made.batches, made.mode) == (20, 20, 0, 3, "batch")
    assert list(made.reasons) == ["data"]
    assert made.output_tokens["max"] == 2000
    assert made.cost["batch"] == pytest.approx((made.cost["sync"] or 0) / 2, abs=1e-6)
    assert (made.cost["max"] or 0) > (made.cost["batch"] or 0) > 0
    assert not (tmp_path / ".runner").exists()


def test_plan_json_has_the_documented_keys(tmp_path: Path) -> None:
    write_job(tmp_path)
    ended = command(tmp_path, environ_without_key(), "plan", "job.yaml", "--json")
    shown = json.loads(ended.stdout)
    assert (ended.returncode, [key for key in PLAN_KEYS if key not in shown]) == (0, [])
    assert set(shown["cost"]) == {"sync", "batch", "batch_cache_5m", "batch_cache_1h", "max", "worst"}
    assert set(shown["input_tokens"]) == {"value", "method", "error"}
    assert "without the API" in shown["input_tokens"]["method"]


def test_tokens_are_counted_by_the_api_with_a_key(tmp_path: Path) -> None:
    write_job(tmp_path, rows=60)
    with simulator(tmp_path / "api") as environ:
        counted = json.loads(command(tmp_path, environ, "plan", "job.yaml", "--json").stdout)["input_tokens"]
        offline = json.loads(command(tmp_path, environ, "plan", "job.yaml", "--json", "--offline").stdout)
    assert counted["method"] == "counted by the API on 16 requests"
    assert counted["error"] < offline["input_tokens"]["error"] == 0.3
    assert accepted(tmp_path / "api") == 0


def test_estimate_matches_the_actual_usage(tmp_path: Path, job: Callable[..., Summary]) -> None:
    summary = job()
    with simulator(tmp_path / "api") as environ:
        shown = command(tmp_path, environ, "plan", "job.yaml", "--json").stdout
    write_job(tmp_path, reuse=False)
    with simulator(tmp_path / "api") as environ:
        again = json.loads(command(tmp_path, environ, "plan", "job.yaml", "--json").stdout)
    assert json.loads(shown)["new"] == 0
    # The simulator counts a quarter of the bytes, with the few of max_tokens and custom_id more or less.
    assert again["input_tokens"]["value"] == pytest.approx(summary.usage["input_tokens"], rel=0.1)
    assert again["output_tokens"]["expected"] == pytest.approx(summary.usage["output_tokens"], abs=20)
    assert summary.cost["estimated"] is not None


def test_failed_token_count_falls_back_to_an_estimate(tmp_path: Path) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api", faults=["count-500:99"]) as environ:
        shown = json.loads(command(tmp_path, environ, "plan", "job.yaml", "--json").stdout)
    assert "without the API" in shown["input_tokens"]["method"]


def test_plan_says_why_requests_are_new_and_their_cost(tmp_path: Path, job: Callable[..., Summary]) -> None:
    job()
    unchanged = plan_of_edited_job(tmp_path)
    assert (unchanged.new, unchanged.reused, unchanged.reasons) == (0, 20, {})
    more = plan_of_edited_job(tmp_path, rows=23)
    assert (more.new, {why: share["rows"] for why, share in more.reasons.items()}) == (3, {"data": 3})
    prompt = {"system": "Label it well.", "user": "{{ text }}"}
    assert {why: share["rows"] for why, share in plan_of_edited_job(tmp_path, prompt=prompt).reasons.items()} == {
        "prompt": 20
    }
    params = {**SPEC["params"], "max_tokens": 90}
    assert {why: share["rows"] for why, share in plan_of_edited_job(tmp_path, params=params).reasons.items()} == {
        "params": 20
    }
    both = plan_of_edited_job(tmp_path, rows=22, params=params)
    assert {why: share["rows"] for why, share in both.reasons.items()} == {"data": 2, "params": 20}
    costs = [share["cost"] for share in both.reasons.values()]
    assert sum(costs) == pytest.approx(both.cost["batch"], abs=2e-6)
    assert {why: share["rows"] for why, share in plan_of_edited_job(tmp_path, reuse=False).reasons.items()} == {
        "again": 20
    }


def test_identical_rows_count_as_reused(tmp_path: Path) -> None:
    write_job(tmp_path)
    (tmp_path / "rows.csv").write_text("id,text\na,one\nb,two\nc,one\n")
    made = plan(load_spec(tmp_path / "job.yaml"), offline=True)
    assert (made.rows, made.new, made.reused) == (3, 2, 1)


def test_run_shows_the_plan_and_pays_nothing_before_consent(tmp_path: Path) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, "run", "job.yaml")
        planned = command(tmp_path, environ, "plan", "job.yaml")
    assert (ended.returncode, accepted(tmp_path / "api")) == (2, 0)
    for line in planned.stdout.splitlines():
        assert line in ended.stderr
    assert "in batches  cheapest: half price" in planned.stdout


def test_plan_does_not_change_state_or_an_unfinished_run(tmp_path: Path) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api", seconds=2) as environ:
        assert command(tmp_path, environ, "run", "job.yaml", "--yes", "--no-wait").returncode == 4
        ended = command(tmp_path, environ, "plan", "job.yaml", "--json")
        assert (ended.returncode, json.loads(ended.stdout)["unfinished_run"] is not None) == (0, True)
        assert command(tmp_path, environ, "run", "job.yaml", "--yes").returncode == 0
    assert max(paid(tmp_path / "api").values()) == 1


def test_rule_errors_are_shown_in_the_plan_and_stop_a_run(tmp_path: Path) -> None:
    write_job(tmp_path, params={**SPEC["params"], "temperature": 0})
    planned = command(tmp_path, environ_without_key(), "plan", "job.yaml", "--json")
    [finding] = json.loads(planned.stdout)["findings"]
    assert (planned.returncode, finding["rule"], finding["severity"]) == (2, "sampling", "error")
    assert list(finding) == ["rule", "severity", "path", "line", "column", "message"]
    for words in (("run", "job.yaml", "--simulate"), ("validate", "job.yaml")):
        ended = command(tmp_path, environ_without_key(), *words)
        assert (ended.returncode, "[sampling]" in ended.stderr) == (2, True)


def test_error_found_only_by_the_plan_stops_a_run(tmp_path: Path, job: Callable[..., Summary]) -> None:
    params = {"model": "claude-haiku-4-5", "max_tokens": 9}
    prompt = {"user": "{{ text }}{% for i in range(99999) %}word word word {% endfor %}"}
    write_job(tmp_path, rows=5, params=params, prompt=prompt)
    with pytest.raises(InputError, match="context-window"):
        job()
    assert accepted(tmp_path / "api") == 0


def test_unknown_model_runs_without_a_price(tmp_path: Path, job: Callable[..., Summary]) -> None:
    params = {"model": "claude-of-tomorrow", "max_tokens": 9}
    made = plan_of_edited_job(tmp_path, params=params)
    assert (set(made.cost.values()), made.estimated_cost, made.cheapest) == ({None}, None, None)
    shown = command(tmp_path, environ_without_key(), "plan", "job.yaml").stdout
    assert ("unknown  in batches\n" in shown, "[unknown-model]" in shown) == (True, True)
    summary = job()
    assert (summary.outcomes, summary.cost["actual"]) == ({"succeeded": 20}, None)


def test_long_shared_prefix_is_cheapest_with_the_cache(tmp_path: Path) -> None:
    prompt = {"system": "These are the rules of labelling. " * 500, "user": "{{ text }}"}
    made = plan_of_edited_job(tmp_path, params={"model": "claude-sonnet-5", "max_tokens": 10}, prompt=prompt)
    assert made.cheapest == "batch_cache_1h"
    assert made.cheapest_reason.endswith("set `prompt.cache: 1h`")
    cached = plan_of_edited_job(
        tmp_path, params={"model": "claude-sonnet-5", "max_tokens": 10}, prompt={**prompt, "cache": "1h"}
    )
    assert cached.estimated_cost == cached.cost["batch_cache_1h"]


def test_run_cost_is_in_summary_and_status(tmp_path: Path) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, "run", "job.yaml", "--yes", "--json")
        cost = json.loads(ended.stdout)["cost"]
        shown = json.loads(command(tmp_path, environ, "status", "job.yaml", "--json").stdout)
        table = command(tmp_path, environ, "status").stdout
    assert shown["cost"] == cost
    assert set(cost) == {"estimated", "actual", "at_sync_price", "saved", "synchronous"}
    assert cost["saved"] == pytest.approx(cost["at_sync_price"] - cost["actual"], abs=2e-6)
    assert "$0.000" in table
