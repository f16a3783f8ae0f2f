"""An answer without text is no success, unless the spec says so."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import Summary
from runner.results.outcome import parse_result
from runner.results.output_format import build_output_format
from runner.spec.spec import Output
from tests.support.outputs import message_line, records
from tests.support.projects import IMPOSSIBLE_SCHEMA, change_results, plan_of_edited_job, write_job
from tests.support.simulator import paid

THINKING = {"type": "thinking", "thinking": "well", "signature": "s"}
EMPTY: list[list[dict[str, Any]]] = [
    [],
    [{"type": "text", "text": ""}],
    [{"type": "text", "text": " \n"}, {"type": "text", "text": ""}],
    [THINKING],
]
FORMS = [Output(), Output(parse="lines"), Output(parse="regex", pattern=".*")]
ALLOWED = {"output": {"allow_empty": True}}
TEXT = {"output": {"parse": "lines"}}
ONCE = {"retry": {"attempts": 1}}


@pytest.mark.parametrize("content", EMPTY)
@pytest.mark.parametrize("output", FORMS)
@pytest.mark.parametrize("reason", ["end_turn", "stop_sequence"])
def test_answer_without_text_is_invalid(content: Any, output: Output, reason: str) -> None:
    found = parse_result(message_line(content=content, stop_reason=reason), build_output_format(output), {})
    assert (found.outcome, found.is_retryable) == ("invalid", True)
    assert found.error == {"type": "invalid", "message": "the answer is empty"}


@pytest.mark.parametrize("content", EMPTY)
def test_answer_without_text_is_valid_if_allowed(content: Any) -> None:
    form = build_output_format(Output(allow_empty=True))
    assert parse_result(message_line(content=content), form, {}).outcome == "succeeded"


def test_empty_answer_is_no_json_even_if_allowed() -> None:
    form = build_output_format(Output(schema=IMPOSSIBLE_SCHEMA, allow_empty=True))
    assert parse_result(message_line(content=[]), form, {}).outcome == "invalid"


def test_stored_empty_success_is_not_reused(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=5, **ALLOWED, **ONCE)
    assert run_job(mix=lambda _: "empty").outcomes == {"succeeded": 5}
    plan = plan_of_edited_job(tmp_path, rows=5, **TEXT, **ONCE)
    assert {why: share["rows"] for why, share in plan.reasons.items()} == {"invalid": 5}
    assert (run_job().outcomes, sum(paid(tmp_path / "api").values())) == ({"succeeded": 5}, 10)


def test_empty_success_of_an_older_version_is_judged(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=5, **TEXT, **ONCE)
    run_job(mix=lambda _: "empty")
    change_results(tmp_path, lambda one: one._replace(name="succeeded"))
    with sqlite3.connect(tmp_path / ".runner/state.db") as database:
        database.execute("UPDATE outcome_count SET outcome = 'succeeded'")
    database.close()
    again = run_job()
    assert (again.outcomes, again.exit_code) == ({"invalid": 5}, 3)
    assert {one["outcome"] for one in records(tmp_path / "out/all.jsonl")} == {"invalid"}
