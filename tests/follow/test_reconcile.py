"""A create without an answer is found among the remote batches, and never paid twice."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from runner import Summary, load_spec, run
from runner.errors import AccessError, ManualDecisionRequired
from runner.simulator.faults import Faults
from runner.simulator.responses import DropConnection, ErrorResponse
from tests.support.outputs import records
from tests.support.projects import BATCHES, EACH_ONCE, ROWS, SPEC, write_job
from tests.support.simulator import accepted, fail_at, paid, simulator


def test_foreign_results_are_never_delivered(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    summary = run_job(faults=["line-foreign:1"])
    assert (summary.outcomes, len(records(tmp_path / "out/all.jsonl"))) == ({"succeeded": ROWS}, ROWS)


def test_unknown_batch_waits_for_a_decision_when_set_to_ask(
    tmp_path: Path, run_job: Callable[..., Summary]
) -> None:
    write_job(tmp_path, batch={**SPEC["batch"], "on_unknown": "stop"})
    for _ in range(2):
        with pytest.raises(ManualDecisionRequired, match=r"(?s)sent at 20\d\d-.*reconcile \w+ --assume-not-sent"):
            run_job(faults=["refuse-504:1"] if not (tmp_path / "api").exists() else [])
        assert accepted(tmp_path / "api") == BATCHES - 1
    spec = json.loads((tmp_path / "job.yaml").read_text())
    spec["batch"]["on_unknown"] = "resubmit"
    (tmp_path / "job.yaml").write_text(json.dumps(spec))
    assert run_job().outcomes == {"succeeded": ROWS}
    assert paid(tmp_path / "api") == EACH_ONCE


def test_batch_that_is_not_found_is_sent_again_by_default(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, batch={"max_requests": 8, "poll_seconds": 0.1, "grace_seconds": 0.5})
    assert run_job(faults=["refuse-504:1", "refuse-500:1"]).outcomes == {"succeeded": ROWS}
    assert paid(tmp_path / "api") == EACH_ONCE


@pytest.mark.parametrize("policy", ["stop", "ask", "resubmit"])
def test_unreadable_candidate_needs_a_decision(
    tmp_path: Path, run_job: Callable[..., Summary], policy: str
) -> None:
    write_job(tmp_path, batch={**SPEC["batch"], "on_unknown": policy})
    with pytest.raises(ManualDecisionRequired, match="can no longer be read"):
        run_job(faults=["foreign-batch", "archived:2", "accept-then-drop"])
    assert paid(tmp_path / "api") == EACH_ONCE


@pytest.mark.parametrize("fault", ["date-ahead:600", "date-ahead:90000", "date-behind:600"])
def test_wrong_server_clock_pays_nothing_twice(
    tmp_path: Path, run_job: Callable[..., Summary], fault: str
) -> None:
    assert run_job(faults=[fault, "accept-then-drop:2"]).outcomes == {"succeeded": ROWS}
    assert paid(tmp_path / "api") == EACH_ONCE


@pytest.mark.parametrize("moment", ["created", "create"])
def test_date_header_that_was_wrong_once_is_warned_of(
    tmp_path: Path, run_job: Callable[..., Summary], moment: str
) -> None:
    faults, lines = Faults(["date-ahead:7200"]), list[str]()

    def lose_answer(stage: str) -> None:
        if stage == moment and faults.limit("date-ahead"):
            faults.clear()
            raise DropConnection

    summary = run_job(faults=faults, on=lose_answer, on_event=lambda one: lines.append(one.message))
    assert (summary.outcomes, paid(tmp_path / "api")) == ({"succeeded": ROWS}, EACH_ONCE)
    assert [line for line in lines if "warning: the Date header of the API was" in line]


def test_intent_records_the_local_clock_beside_the_date_header(
    tmp_path: Path, run_job: Callable[..., Summary]
) -> None:
    run_job(wait=False, faults=["date-ahead:7200"])
    marks = [json.loads(path.read_text()) for path in (tmp_path / ".runner").rglob("*.sent")]
    assert [mark["intent_at"] - mark["local_at"] > 7000 for mark in marks] == [True] * BATCHES
    assert sum(mark["newest_at"] is None for mark in marks) == 1


def test_foreign_download_does_not_disown_a_batch(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    # One row a batch, so that a download with one foreign line holds nothing of ours.
    write_job(tmp_path, rows=2, batch={**SPEC["batch"], "max_requests": 1})
    assert run_job(faults=["line-foreign:2", "line-missing:1"]).outcomes == {"succeeded": 2}
    assert paid(tmp_path / "api") == {("1", 1): 1, ("1", 2): 1}


def test_other_workspace_is_allowed_if_nothing_was_accepted(run_job: Callable[..., Summary]) -> None:
    with pytest.raises(AccessError):
        run_job(faults=["billing"], workspace="wrkspc_a")
    assert run_job(workspace="wrkspc_b").outcomes == {"succeeded": ROWS}


@pytest.mark.parametrize("moment", ["created", "create"])
@pytest.mark.parametrize(
    "error", [DropConnection(), ErrorResponse(500, "boom"), ErrorResponse(504, "late"), ErrorResponse(529, "busy")]
)
def test_create_without_a_response_is_never_paid_twice(
    tmp_path: Path, run_job: Callable[..., Summary], moment: str, error: Exception
) -> None:
    assert run_job(on=fail_at(moment, error)).outcomes == {"succeeded": 20}
    assert accepted(tmp_path / "api") == 3


@pytest.mark.parametrize(("moment", "told"), [("create", "is not ours"), ("created", "was accepted as")])
def test_foreign_batch_is_never_taken_for_ours(
    tmp_path: Path,
    run_job: Callable[..., Summary],
    tmp_path_factory: pytest.TempPathFactory,
    moment: str,
    told: str,
) -> None:
    other = tmp_path_factory.mktemp("other")
    write_job(other)
    with simulator(tmp_path / "api") as environ:
        os.environ.update({name: environ[name] for name in ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY")})
        run(load_spec(other / "job.yaml"), consent=True)
    lines: list[str] = []
    summary = run_job(on=fail_at(moment, DropConnection()), on_event=lambda one: lines.append(one.message))
    assert [line for line in lines if told in line]
    assert (summary.outcomes, accepted(tmp_path / "api")) == ({"succeeded": 20}, 6)


def test_nothing_is_resent_while_a_candidate_is_unfinished(
    tmp_path: Path, run_job: Callable[..., Summary]
) -> None:
    write_job(tmp_path, rows=5, batch={**SPEC["batch"], "grace_seconds": 0})
    assert run_job(on=fail_at("created", DropConnection()), seconds=3).outcomes == {"succeeded": 5}
    assert accepted(tmp_path / "api") == 1


def test_lost_creates_of_equal_size_are_told_apart(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=3, batch={**SPEC["batch"], "max_requests": 1})
    assert run_job(on=fail_at("created", DropConnection(), times=3)).outcomes == {"succeeded": 3}
    assert accepted(tmp_path / "api") == 3


def test_unfinished_batch_is_never_searched_at_another_address(
    tmp_path: Path, run_job: Callable[..., Summary], tmp_path_factory: pytest.TempPathFactory
) -> None:
    write_job(tmp_path, batch={**SPEC["batch"], "grace_seconds": 0})
    run_job(wait=False, on=fail_at("created", DropConnection()))
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with pytest.raises(AccessError, match="was sent to http"):
        run_job(folder=elsewhere)
    assert (accepted(tmp_path / "api"), accepted(elsewhere)) == (3, 0)
