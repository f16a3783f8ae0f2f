"""Token counts and estimated costs of a plan."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from runner import Summary
from tests.support.processes import command
from tests.support.projects import plan_of_edited_job, write_job
from tests.support.simulator import accepted, simulator


def test_tokens_are_counted_by_the_api_with_a_key(tmp_path: Path) -> None:
    write_job(tmp_path, rows=60)
    with simulator(tmp_path / "api") as environ:
        counted = json.loads(command(tmp_path, environ, "plan", "job.yaml", "--json").stdout)["input_tokens"]
        offline = json.loads(command(tmp_path, environ, "plan", "job.yaml", "--json", "--offline").stdout)
    assert counted["method"] == "counted by the API on 16 requests"
    assert counted["error"] < offline["input_tokens"]["error"] == 0.3
    assert accepted(tmp_path / "api") == 0


def test_estimate_matches_the_actual_usage(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    summary = run_job()
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


@pytest.mark.parametrize("enforce", ["here", "tool"])
@pytest.mark.parametrize("system", [{"system": "Label."}, {}])
def test_a_long_schema_in_prompts_can_be_cached(tmp_path: Path, enforce: str, system: dict[str, str]) -> None:
    schema = {"type": "object", "properties": {"label": {"type": "string", "description": "A label. " * 2_000}}}
    params = {"model": "claude-sonnet-5", "max_tokens": 10}
    output = {"schema": schema, "enforce": enforce}
    made = plan_of_edited_job(tmp_path, params=params, prompt={**system, "user": "{{ text }}"}, output=output)
    assert made.cheapest == "batch_warm_1h"


def test_long_shared_prefix_is_cheapest_with_the_cache(tmp_path: Path) -> None:
    prompt = {"system": "These are the rules of labelling. " * 500, "user": "{{ text }}"}
    made = plan_of_edited_job(tmp_path, params={"model": "claude-sonnet-5", "max_tokens": 10}, prompt=prompt)
    assert (made.cheapest, made.way) == ("batch_warm_1h", "batch_warm_1h")
    cached = plan_of_edited_job(
        tmp_path, params={"model": "claude-sonnet-5", "max_tokens": 10}, prompt={**prompt, "cache": "1h"}
    )
    assert cached.estimated_cost == cached.cost["batch_warm_1h"]
    assert sum(one["cost"] for one in cached.reasons.values()) == pytest.approx(cached.estimated_cost, abs=1e-5)
