"""The expected length of answers is that of earlier answers, and the plan says of which."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner import Summary
from runner.cli.texts.plan import format_plan
from runner.lifecycle.maintain.purge import purge_run
from runner.lifecycle.plan.output_tokens import OutputTokens
from runner.runs.find import find_runs
from tests.support.outputs import normalize
from tests.support.processes import command
from tests.support.projects import SPEC, plan_of_edited_job, write_job
from tests.support.simulator import simulator

OTHER_PROMPT: dict[str, Any] = {"prompt": {"user": "Another prompt: {{ text }}"}}
OTHER_MODEL: dict[str, Any] = {"params": {"model": "claude-sonnet-5", "max_tokens": 100}}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def row_of(params: bytes) -> int:
    return int(re.findall(rb"text number (\d+)", params)[0])


def with_tokens(*tokens: int) -> Callable[[bytes, Any], Any]:
    """Usages of which the output tokens alternate by row."""

    def change(params: bytes, usage: Any) -> Any:
        return {**usage, "output_tokens": tokens[row_of(params) % len(tokens)]}

    return change


def output_tokens(root: Path, **changes: Any) -> dict[str, Any]:
    return plan_of_edited_job(root, **{"reuse": False, **changes}).output_tokens


def test_answers_to_the_same_prompt_count_first(project: Path, run_job: Callable[..., Summary]) -> None:
    write_job(project)
    first = run_job(usage=with_tokens(40))
    write_job(project, **OTHER_PROMPT)
    second = run_job(usage=with_tokens(80))
    same, other = output_tokens(project), output_tokens(project, **OTHER_PROMPT)
    assert (same["per_answer"], same["run"], same["method"]) == (
        40,
        first.run,
        f"from 20 answers of run {first.run}",
    )
    assert (other["per_answer"], other["run"]) == (80, second.run)


def test_cache_mark_makes_no_other_prompt(project: Path, run_job: Callable[..., Summary]) -> None:
    write_job(project)
    first = run_job(usage=with_tokens(40))
    found = output_tokens(project, prompt={**SPEC["prompt"], "cache": "1h"})
    assert found["method"] == f"from 20 answers of run {first.run}"


def test_answers_to_a_retry_are_not_like_others(project: Path, run_job: Callable[..., Summary]) -> None:
    write_job(project, retry={"attempts": 1})
    first = run_job(usage=with_tokens(40), mix=lambda id: "truncated" if id.endswith("-1") else "succeeded")
    with simulator(project / "api", usage=with_tokens(90)) as environ:
        assert command(project, environ, "retry", "job", "--yes").returncode == 0
    assert output_tokens(project)["run"] == first.run


def test_other_prompt_of_the_same_model_counts_next(project: Path, run_job: Callable[..., Summary]) -> None:
    write_job(project, **OTHER_MODEL)
    run_job(usage=with_tokens(90))
    write_job(project, **OTHER_PROMPT)
    other = run_job(usage=with_tokens(30))
    write_job(project, **OTHER_MODEL, **OTHER_PROMPT)
    run_job(usage=with_tokens(90))
    found = output_tokens(project)
    assert found["method"] == f"from 20 answers of run {other.run}, which had another prompt"
    assert found["per_answer"] == 30


def test_average_of_another_model_is_better_than_none(project: Path, run_job: Callable[..., Summary]) -> None:
    write_job(project, **OTHER_MODEL)
    other = run_job(usage=with_tokens(10, 20))
    found = output_tokens(project)
    assert (found["per_answer"], found["low"]) == (15, None)
    assert found["method"] == f"based on the average of run {other.run}"


def test_purged_run_has_an_average_without_limits(project: Path, run_job: Callable[..., Summary]) -> None:
    write_job(project)
    run_job(usage=with_tokens(10, 20))
    purge_run(find_runs()[0])
    found = output_tokens(project)
    assert (found["per_answer"], found["low"], found["answers"]) == (15, None, 20)


def test_first_run_assumes_a_quarter_of_the_maximum(project: Path) -> None:
    made = plan_of_edited_job(project)
    assert (made.output_tokens["per_answer"], made.output_tokens["answers"], made.cost_range) == (25, 0, None)
    assert made.output_tokens["method"] == "assuming a quarter of max_tokens"


def test_plan_shows_a_range_and_what_it_is_based_on(project: Path, run_job: Callable[..., Summary]) -> None:
    write_job(project)
    run_job(usage=with_tokens(10, 20, 90))
    made = plan_of_edited_job(project, reuse=False)
    shown = normalize(format_plan(made, verbose=True))
    low, high = made.cost_range or (0.0, 0.0)
    assert low < (made.estimated_cost or 0.0) < high
    assert "42 per answer (18 to 65), from 20 answers of run RUN; maximum 2,000\n" in shown
    assert "cost      about $" in shown and " to $" in shown


def test_sample_is_spread_over_a_run_of_many_batches(project: Path, run_job: Callable[..., Summary]) -> None:
    batch = {**SPEC["batch"], "max_requests": 25}
    write_job(project, rows=2_500, batch=batch)
    run_job(usage=lambda params, usage: {**usage, "output_tokens": row_of(params)})
    found = output_tokens(project, rows=2_500, batch=batch)
    assert 400 <= found["answers"] <= 1_000
    assert found["per_answer"] == pytest.approx(1_250, rel=0.05)


@given(st.integers(2, 1_000), st.integers(1, 10**6), st.floats(0, 1e4), st.floats(0, 1e4))
def test_more_answers_make_the_interval_smaller(answers: int, count: int, mean: float, deviation: float) -> None:
    low, high = OutputTokens(mean, "", "t", answers, deviation).interval(count) or (0.0, 0.0)
    less, more = OutputTokens(mean, "", "t", answers + 1, deviation).interval(count) or (0.0, 0.0)
    assert 0 <= low <= less <= mean <= more <= high


def test_json_plan_has_the_limits(project: Path, run_job: Callable[..., Summary]) -> None:
    write_job(project)
    run_job(usage=with_tokens(10, 20))
    found = json.loads(json.dumps(output_tokens(project)))
    assert found["low"] < 15 < found["high"]
    assert found["expected"] == 300
