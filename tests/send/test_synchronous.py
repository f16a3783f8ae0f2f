"""The same spec through the synchronous API: the same outcomes, and nothing sent twice."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

from runner import Summary, load_spec, run
from runner.errors import AccessError
from tests.support.outputs import outputs, records
from tests.support.processes import RUN, command, end, kill, start
from tests.support.projects import SPEC, plan_of_edited_job, write_job
from tests.support.simulator import accepted, answered, simulator

TEXTS = {f"text number {number}" for number in range(1, 21)}


def each_once(root: Path) -> bool:
    return Counter(answered(root / "api")) == Counter(TEXTS)


def test_mode_sync_sends_everything_synchronously(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    batched = run_job()
    before = [one["output"] for one in records(tmp_path / "out/all.jsonl")]
    write_job(tmp_path, mode="sync", reuse=False)
    summary = run_job(new=True)
    assert (summary.outcomes, summary.state) == (batched.outcomes, "finished")
    assert [one["output"] for one in records(tmp_path / "out/all.jsonl")] == before
    assert (each_once(tmp_path), accepted(tmp_path / "api")) == (True, 3)
    assert summary.cost["actual"] == pytest.approx(summary.cost["at_sync_price"])
    assert batched.cost["actual"] == pytest.approx((summary.cost["actual"] or 0) / 2, abs=2e-6)


@pytest.mark.parametrize(
    ("fault", "more"),
    [
        ("message-429:3", 0),
        ("message-529:3", 0),
        ("message-503:3", 0),
        ("message-500:3", 0),
        ("answer-laid-out:20", 0),
        ("answer-then-drop", 1),
        ("answer-then-500", 1),
        ("answer-then-502", 1),
        ("answer-then-503", 1),
        ("answer-then-504", 1),
        ("answer-then-html", 1),
    ],
)
def test_temporary_fault_is_waited_for_or_retried(
    tmp_path: Path, run_job: Callable[..., Summary], fault: str, more: int
) -> None:
    write_job(tmp_path, mode="sync")
    assert run_job(faults=[fault]).outcomes == {"succeeded": 20}
    counts = Counter(answered(tmp_path / "api"))
    assert (sum(counts.values()), set(counts), max(counts.values())) == (20 + more, TEXTS, 1 + more)


def test_rejected_request_is_the_outcome_of_its_row(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, mode="sync")
    summary = run_job(faults=["message-400:2"])
    assert (summary.outcomes, summary.exit_code) == ({"succeeded": 18, "errored": 2}, 3)


def test_lost_answer_counts_at_its_max_cost(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    job: dict[str, Any] = {"rows": 1, "mode": "sync", "retry": {"attempts": 1}}
    max_cost = plan_of_edited_job(tmp_path, **job).cost["max"]
    lost = run_job(faults=["answer-then-drop"])
    assert (lost.outcomes, len(answered(tmp_path / "api"))) == ({"errored": 1}, 1)
    assert lost.cost["actual"] == pytest.approx(max_cost, abs=1e-6)
    write_job(tmp_path, **job, reuse=False)
    assert 0 < (run_job(new=True).cost["actual"] or 0) < (max_cost or 0)


def test_lost_answer_is_reported_before_it_is_paid_twice(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, mode="sync")
    said: list[str] = []
    assert run_job(faults=["answer-then-502"], on_event=lambda one: said.append(one.message)).exit_code == 0
    assert sum("1 answer lost, and perhaps paid" in line for line in said) == 1


def test_revoked_key_stops_the_run_which_resumes_later(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, mode="sync", sync={"concurrency": 2})
    seen: list[str] = []

    def on(moment: str) -> None:
        seen.append(moment)

    with pytest.raises(AccessError):
        run_job(faults=["revoked-key:99"], on=on)
    assert run_job().outcomes == {"succeeded": 20}
    assert each_once(tmp_path)


@pytest.mark.parametrize("number", [1, 7, 19])
def test_killed_run_resends_only_requests_in_flight(tmp_path: Path, number: int) -> None:
    write_job(tmp_path, mode="sync", sync={"concurrency": 3})
    seen, process = 0, None

    def on(moment: str) -> None:
        nonlocal seen
        seen += moment == "answered"
        if seen == number and process is not None:
            kill(process.pid)

    with simulator(tmp_path / "api", on=on) as environ:
        process = start(tmp_path, environ, *RUN)
        assert end(tmp_path, process).returncode == -9
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, *RUN)
        assert (ended.returncode, command(tmp_path, environ, "doctor").returncode) == (0, 0), ended.stderr
    counts = Counter(answered(tmp_path / "api"))
    assert set(counts) == TEXTS
    assert sum(counts.values()) - 20 <= 3
    assert [one["outcome"] for one in records(tmp_path / "out/all.jsonl")] == ["succeeded"] * 20


def test_interrupt_waits_for_requests_in_flight(tmp_path: Path) -> None:
    write_job(tmp_path, mode="sync", sync={"concurrency": 2})
    process: Any = None
    asked = Lock()  # once: a second signal would not wait

    def on(moment: str) -> None:
        is_due = moment == "answered" and process is not None and len(answered(tmp_path / "api")) >= 4
        if is_due and asked.acquire(blocking=False):
            process.terminate()

    with simulator(tmp_path / "api", on=on) as environ:
        process = start(tmp_path, environ, *RUN)
        ended = end(tmp_path, process)
        assert (ended.returncode, "resume with" in ended.stderr) == (143, True)
        assert len(answered(tmp_path / "api")) < 20
        assert command(tmp_path, environ, *RUN).returncode == 0
    assert each_once(tmp_path)


def test_many_requests_are_answered_in_parts(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=410, mode="sync", batch={**SPEC["batch"], "max_requests": 10_000})
    summary = run_job()
    assert summary.outcomes == {"succeeded": 410}
    assert sorted(batch["requests"] for batch in summary.batches) == [10, 200, 200]
    assert len(set(answered(tmp_path / "api"))) == 410


def test_unfinished_batch_run_can_finish_synchronously(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    assert run_job(wait=False, seconds=60).state == "running"
    write_job(tmp_path, mode="sync")
    summary = run_job(seconds=0.3)
    assert (summary.outcomes, summary.state) == ({"succeeded": 20}, "finished")
    assert (each_once(tmp_path), accepted(tmp_path / "api")) == (True, 3)


def test_outputs_are_the_same_in_batch_and_sync_mode(tmp_path: Path) -> None:
    found = {}
    for mode in ("batch", "sync"):
        root = tmp_path / mode
        write_job(root, mode=mode)
        with simulator(root / "api") as environ:
            assert command(root, environ, *RUN).returncode == 0
        found[mode] = {
            name: text.replace('"service_tier":"batch"', '"service_tier":"standard"')
            for name, text in outputs(root).items()
        }
    shown = {mode: json.dumps(one).count("batch_id") for mode, one in found.items()}
    assert shown["batch"] == shown["sync"]
    assert found["batch"]["labels.csv"] == found["sync"]["labels.csv"]


def test_a_synchronous_run_is_not_said_to_have_batches(tmp_path: Path) -> None:
    said: list[str] = []
    spec = load_spec(write_job(tmp_path, mode="sync"))
    run(spec, simulate=True, on_event=lambda event: said.append(event.message))
    assert any(line.endswith(": 20 rows sent synchronously") for line in said)
