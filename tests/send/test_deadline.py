"""Batches that run past the deadline are canceled and finished as the spec says."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from runner import Summary
from runner.simulator.responses import DropConnection
from tests.support.outputs import records
from tests.support.projects import SPEC, plan_of_edited_job, write_job
from tests.support.simulator import accepted, answered, paid

BATCH = {**SPEC["batch"], "max_requests": 5, "grace_seconds": 1}
HANGING = ["batch-hang:2", "cancel-half:1"]


def answers(root: Path) -> Counter[str]:
    """The number of answers to the text of each row, in batches and synchronously."""
    found = Counter(answered(root / "api"))
    for path in (root / "api").glob("msgbatch_*.jsonl"):
        for line in records(path):
            if line["result"]["type"] == "succeeded":
                found[f"text number {line['custom_id'].rpartition('-')[2]}"] += 1
    return found


def each_once(root: Path) -> bool:
    return answers(root) == {f"text number {number}": 1 for number in range(1, 21)}


def test_hanging_batches_finish_synchronously_at_the_deadline(
    tmp_path: Path, run_job: Callable[..., Summary]
) -> None:
    write_job(tmp_path, batch=BATCH, deadline="2s", allow=["interactive-deadline"])
    summary = run_job(faults=HANGING)
    assert (summary.outcomes, summary.exit_code) == ({"succeeded": 20}, 0)
    assert each_once(tmp_path)
    # Two of about five batches hung; one of them was half answered when it was canceled.
    assert 5 <= len(answered(tmp_path / "api")) <= 10


def test_deadline_cancels_do_not_count_as_attempts(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, batch=BATCH, deadline="1s", retry={"attempts": 1})
    assert run_job(faults=HANGING).outcomes == {"succeeded": 20}
    assert each_once(tmp_path)


def test_lost_create_is_searched_before_sending_synchronously(
    tmp_path: Path, run_job: Callable[..., Summary]
) -> None:
    write_job(tmp_path, batch=BATCH, deadline="1s")
    created: list[str] = []

    def on(moment: str) -> None:
        created.append(moment)
        if moment == "created" and created.count("created") == 3:
            raise DropConnection

    assert run_job(faults=HANGING, on=on).outcomes == {"succeeded": 20}
    assert each_once(tmp_path)


@pytest.mark.parametrize("fault", ["refuse-504", "storm-500:3"])
def test_the_deadline_does_not_hide_a_fault(tmp_path: Path, run_job: Callable[..., Summary], fault: str) -> None:
    write_job(tmp_path, batch=BATCH, deadline="1s")
    assert run_job(faults=[*HANGING, fault]).outcomes == {"succeeded": 20}
    assert each_once(tmp_path)


def test_unsent_rows_are_sent_synchronously_at_the_deadline(
    tmp_path: Path, run_job: Callable[..., Summary]
) -> None:
    write_job(tmp_path, batch=BATCH, deadline="1s")
    assert run_job(faults=["max-queue:6", "batch-hang:1"]).outcomes == {"succeeded": 20}
    assert each_once(tmp_path)
    assert accepted(tmp_path / "api") == 1


def test_full_queue_does_not_delay_the_deadline(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, batch={**BATCH, "poll_seconds": 20}, deadline="1s", allow=["interactive-deadline"])
    moments: list[str] = []
    assert run_job(faults=["max-queue:6", "batch-hang:1"], on=moments.append).outcomes == {"succeeded": 20}
    # Nothing waits until the canceled batch has ended, which the next look would tell.
    assert "retrieve" not in moments[moments.index("cancel") : moments.index("message")]


def test_on_deadline_cancel_ends_the_rest_as_canceled(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, batch=BATCH, deadline="2s", on_deadline="cancel")
    summary = run_job(faults=["batch-hang:1"])
    assert summary.exit_code == 3
    assert set(summary.outcomes) == {"succeeded", "canceled"}
    assert sum(summary.outcomes.values()) == 20
    assert answered(tmp_path / "api") == []


def test_on_deadline_wait_keeps_waiting(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, batch=BATCH, deadline="0.2s", on_deadline="wait")
    assert run_job(seconds=1).outcomes == {"succeeded": 20}
    assert (answered(tmp_path / "api"), max(paid(tmp_path / "api").values())) == ([], 1)


def test_rows_stay_in_batches_if_sync_would_be_slower(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    # More than an hour synchronously; batches are expected to end within an hour.
    params = {**SPEC["params"], "max_tokens": 64_000}
    write_job(tmp_path, batch=BATCH, params=params, deadline="0.2s", sync={"concurrency": 1})
    lines: list[str] = []
    assert run_job(seconds=2, on_event=lambda one: lines.append(one.message)).outcomes == {"succeeded": 20}
    assert (answered(tmp_path / "api"), max(paid(tmp_path / "api").values())) == ([], 1)
    [told] = [line for line in lines if "deadline" in line]
    assert "waits for its batches, because sending 20 requests synchronously would take about 77 minutes" in told


def test_rows_stay_in_batches_if_the_cap_forbids_sync(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    # Long prompts: their tokens are far fewer than the bytes that are reserved.
    prompt = {"user": "{{ text }} " + "word " * 2_000}
    cost = plan_of_edited_job(tmp_path, prompt=prompt).cost["batch"] or 0
    cap = {"max_cost": round(cost * 1.5, 6)}
    write_job(tmp_path, batch=BATCH, prompt=prompt, deadline="0.2s", limits=cap, allow=["interactive-deadline"])
    lines: list[str] = []
    summary = run_job(seconds=0.5, on_event=lambda one: lines.append(one.message))
    assert (summary.outcomes, answered(tmp_path / "api")) == ({"succeeded": 20}, [])
    assert (summary.cost["actual"] or 0) < cap["max_cost"]
    [told] = [line for line in lines if "deadline" in line]
    assert "is left under limits.max_cost" in told


def test_deadline_names_the_time_and_cost_of_the_rest(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, batch=BATCH, deadline="1s")
    lines: list[str] = []
    run_job(faults=["batch-hang:9"], on_event=lambda one: lines.append(one.message))
    [told] = [line for line in lines if "deadline" in line]
    assert "remaining rows are sent synchronously (20 requests, about 5 seconds and $0.00" in told


def test_run_resumed_after_its_deadline_finishes_synchronously(
    tmp_path: Path, run_job: Callable[..., Summary]
) -> None:
    write_job(tmp_path, batch=BATCH, deadline="1s")
    assert run_job(wait=False, seconds=1, faults=["batch-hang:9"]).state == "running"
    assert run_job().outcomes == {"succeeded": 20}
    assert each_once(tmp_path)


def test_rows_canceled_for_sync_are_sent_after_mode_is_reverted(
    tmp_path: Path, run_job: Callable[..., Summary]
) -> None:
    write_job(tmp_path, batch=BATCH)
    assert run_job(wait=False, seconds=1, faults=["batch-hang:9"]).state == "running"
    write_job(tmp_path, batch=BATCH, mode="sync")
    assert run_job(wait=False, seconds=5).state == "running"
    write_job(tmp_path, batch=BATCH)
    assert run_job(seconds=0.2).outcomes == {"succeeded": 20}
    assert each_once(tmp_path)
