"""Results that the API counted but does not deliver are waited for, and their rows are not paid twice."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runner import Summary
from runner.cli.texts.summary import format_conclusion
from runner.store.open_store import open_store
from runner.store.records import Batch
from tests.support.outputs import records
from tests.support.processes import RUN, command
from tests.support.projects import BATCHES, EACH_ONCE, SPEC, write_job
from tests.support.simulator import accepted, paid, simulator

HASTY = {**SPEC["batch"], "grace_seconds": 0.05}


def batches(root: Path) -> list[Batch]:
    with open_store(root / ".runner", lock=False) as store:
        return store.batches(store.runs()[0])


def downloads(root: Path) -> int:
    return max(batch.incomplete_downloads for batch in batches(root))


def test_counted_results_end_as_missing_and_are_not_sent(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, batch=HASTY)
    summary = run_job(faults=["missing:2"])
    assert (summary.outcomes, summary.exit_code) == ({"succeeded": 18, "missing": 2}, 3)
    assert paid(tmp_path / "api").total() == 18
    assert sum(batch.get("missing_results", 0) for batch in summary.batches) == 2
    assert "missing 2 rows without a result" in format_conclusion(summary, is_simulated=False)


def test_batch_that_ends_in_the_future_is_not_waited_for(run_job: Callable[..., Summary], tmp_path: Path) -> None:
    write_job(tmp_path, batch=HASTY)
    assert run_job(faults=["missing:2", "ended-ahead:100%"]).outcomes == {"succeeded": 18, "missing": 2}


def test_missing_rows_are_paid_again_if_retry_says_so(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, batch=HASTY, retry={"on": ["missing"]})
    assert run_job(faults=["missing:2"]).outcomes == {"succeeded": 20}


def test_nothing_is_sent_while_any_counted_answer_is_missing(
    tmp_path: Path, run_job: Callable[..., Summary]
) -> None:
    # One row is not counted and one answer is missing: nobody knows which row of the two is paid.
    write_job(tmp_path, rows=8, batch=HASTY)
    kinds = {"-3": "missing", "-5": "uncounted"}
    assert run_job(mix=lambda id: kinds.get(id[-2:], "succeeded")).outcomes == {"succeeded": 6, "missing": 2}
    assert paid(tmp_path / "api").total() == 6


def test_late_results_arrive_while_other_batches_finish(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, batch={**SPEC["batch"], "grace_seconds": 30})
    moments: list[str] = []
    summary = run_job(faults=["cut-short:4"], on=moments.append)
    assert (summary.outcomes, summary.exit_code) == ({"succeeded": 20}, 0)
    assert (moments.count("results") >= 7, paid(tmp_path / "api")) == (True, EACH_ONCE)


def test_other_process_continues_to_count_the_downloads(tmp_path: Path) -> None:
    ahead = [0.0]

    def clock() -> float:
        return time.time() + ahead[0]

    write_job(tmp_path, batch={**SPEC["batch"], "grace_seconds": 900})
    settings: dict[str, Any] = {"faults": ["missing:1"], "clock": clock, "seconds": 0}
    with simulator(tmp_path / "api", **settings) as environ:
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
        codes, counts = [], []
        for hours in range(7):
            # The API tells whole seconds.
            ahead[0] = 3610 * hours
            codes.append(command(tmp_path, environ, *RUN, "--no-wait").returncode)
            counts.append(downloads(tmp_path))
    # One download an hour, by processes that each live for a moment.
    assert codes == [4] * 6 + [3]
    assert [count - counts[1] for count in counts[1:6]] == [0, 1, 2, 3, 4]
    assert paid(tmp_path / "api").total() == 19
    assert [one["outcome"] for one in records(tmp_path / "out/all.jsonl")].count("missing") == 1


def test_loss_can_be_accepted_before_the_hours_are_over(tmp_path: Path) -> None:
    write_job(tmp_path, batch={**SPEC["batch"], "grace_seconds": 0.5})
    with simulator(tmp_path / "api", faults=["missing:1"]) as environ:
        ended = command(tmp_path, environ, *RUN, "--accept-loss")
    assert (ended.returncode, "1 missing" in ended.stdout) == (3, True)


def test_results_of_others_do_not_unbind_a_batch(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, batch=HASTY)
    run_id = run_job(wait=False).run
    for path in (tmp_path / "api").glob("msgbatch_*.jsonl"):
        path.write_text(path.read_text().replace(run_id, "somebody"))
    for _ in range(3):
        run_job(wait=False)
    states = [(batch.state, batch.batch_id is not None) for batch in batches(tmp_path)]
    assert (states, accepted(tmp_path / "api")) == ([("ended", True)] * BATCHES, BATCHES)
