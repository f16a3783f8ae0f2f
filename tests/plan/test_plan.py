"""A plan says what is sent, why, and for how much."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import Summary, load_spec, plan
from runner.cli.texts.plan import format_plan
from runner.errors import InputError, UsageError
from tests.support.outputs import records
from tests.support.processes import command
from tests.support.projects import SPEC, plan_of_edited_job, write_job
from tests.support.simulator import accepted, environ_without_key, simulator


def test_nothing_is_sent_without_consent(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    offers: list[Any] = []

    def decline(offer: Any) -> bool:
        offers.append(offer)
        return False

    with pytest.raises(UsageError, match="nothing was sent"):
        run_job(consent=decline)
    assert (offers[0].new, offers[0].batches, accepted(tmp_path / "api")) == (20, 3, 0)


def test_plan_of_a_first_run_lists_what_is_sent(tmp_path: Path) -> None:
    made = plan_of_edited_job(tmp_path)
    assert (made.rows, made.new, made.reused, made.batches, made.mode) == (20, 20, 0, 3, "batch")
    assert list(made.reasons) == ["data"]
    assert made.output_tokens["max"] == 2000
    assert made.cost["batch"] == pytest.approx((made.cost["sync"] or 0) / 2, abs=1e-6)
    assert (made.cost["max"] or 0) > (made.cost["batch"] or 0) > 0
    assert not (tmp_path / ".runner").exists()


def test_plan_says_why_requests_are_new_and_their_cost(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    run_job()
    unchanged = plan_of_edited_job(tmp_path)
    assert (unchanged.new, unchanged.reused, unchanged.reasons) == (0, 20, {})
    text = format_plan(unchanged)
    assert "requests  nothing to send, 20 reused\n" in text
    assert ("`reuse: false` in the spec sends all rows again" in text, "mode" in text) == (True, False)
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


def test_identical_rows_count_as_duplicates(tmp_path: Path) -> None:
    write_job(tmp_path)
    (tmp_path / "rows.csv").write_text("id,text\na,one\nb,two\nc,one\n")
    made = plan(load_spec(tmp_path / "job.yaml"), offline=True)
    assert (made.rows, made.new, made.reused, made.duplicates) == (3, 2, 0, 1)
    assert (
        "2 to send in 1 batch" in (text := format_plan(made))
        and ", 1 duplicate\n" in text
        and "reused" not in text
    )


def test_error_found_only_by_the_plan_stops_a_run(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    params = {"model": "claude-haiku-4-5", "max_tokens": 9}
    prompt = {"user": "{{ text }}{% for i in range(99999) %}word word word {% endfor %}"}
    write_job(tmp_path, rows=5, params=params, prompt=prompt)
    with pytest.raises(InputError, match="context-window"):
        run_job()
    assert accepted(tmp_path / "api") == 0


def test_unknown_model_runs_without_a_price(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    params = {"model": "claude-of-tomorrow", "max_tokens": 9}
    made = plan_of_edited_job(tmp_path, params=params)
    assert (set(made.cost.values()), made.estimated_cost, made.cheapest) == ({None}, None, None)
    shown = command(tmp_path, environ_without_key(), "plan", "job.yaml").stdout
    assert "cost      unknown: no price is known for claude-of-tomorrow\n" in shown
    assert "[unknown-model]" in shown
    summary = run_job()
    assert (summary.outcomes, summary.cost["actual"]) == ({"errored": 20}, None)
    assert {one["error"]["message"] for one in records(tmp_path / "out/all.jsonl")} == {
        "model: claude-of-tomorrow"
    }


def test_run_cost_is_in_summary_and_status(tmp_path: Path) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, "run", "job.yaml", "--yes", "--json")
        cost = json.loads(ended.stdout)["cost"]
        shown = json.loads(command(tmp_path, environ, "status", "job.yaml", "--json").stdout)
        table = command(tmp_path, environ, "status").stdout
    assert shown["cost"] == cost
    assert set(cost) == {"estimated", "actual", "at_sync_price", "saved", "saved_by_cache", "synchronous"}
    assert cost["saved"] == pytest.approx(cost["at_sync_price"] - cost["actual"], abs=2e-6)
    assert "$0.000" in table


@pytest.mark.parametrize(
    ("cap", "words"),
    [(1, ""), (0.001, "only 1 of 3 batches can be in progress at once"), (0.0005, "sent one after another")],
)
def test_plan_says_if_the_cap_holds_batches_back(tmp_path: Path, cap: float, words: str) -> None:
    made = plan_of_edited_job(tmp_path, limits={"max_cost": cap})
    assert (words in made.cap_effect, made.cap_effect in format_plan(made)) == (True, True)
    assert bool(made.cap_effect) == bool(words)


def test_plan_of_one_row_is_in_the_singular(tmp_path: Path) -> None:
    text = format_plan(plan_of_edited_job(tmp_path, rows=1, mode="auto"), verbose=True)
    assert "job: 1 row for" in text and "1 request takes about" in text
    assert "$0.00 " not in text and "1 rows" not in text and "1 requests" not in text
