"""A batch that is sent again counts twice against the cap, until the doubted create is found."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import Summary
from runner.errors import CostCapReached
from tests.support.processes import RUN, command
from tests.support.projects import EACH_ONCE, SPEC, plan_of_edited_job, write_job
from tests.support.simulator import bill, most_usage, paid, simulator

PARAMS = {"model": "claude-haiku-5-5", "max_tokens": 1000}
LATE: dict[str, Any] = {"faults": ["late-commit:1"], "fault_delay": 1000}
STOP = {**SPEC["batch"], "on_unknown": "stop", "grace_seconds": 0.3}


def doubts(summary: Any) -> list[float]:
    batches = summary["batches"] if isinstance(summary, dict) else summary.batches
    return [one["doubted_cost"] for one in batches if "doubted_cost" in one]


def status(root: Path, environ: dict[str, str]) -> Any:
    return json.loads(command(root, environ, "status", "job.yaml", "--json").stdout)


def test_batch_sent_again_counts_twice(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    one = plan_of_edited_job(tmp_path, rows=8, params=PARAMS).cost["max"] or 0
    write_job(tmp_path, rows=8, params=PARAMS, limits={"max_cost": round(one * 1.5, 6)})
    with pytest.raises(CostCapReached, match=r"\(\$\d\.\d+ of it for batches that may have been paid twice\)"):
        run_job(faults=["late-commit:1"], lag=300, usage=most_usage)
    assert bill(tmp_path / "api") <= one * 1.5
    write_job(tmp_path, rows=8, params=PARAMS, limits={"max_cost": round(one * 2.1, 6)})
    assert run_job(usage=most_usage).outcomes == {"succeeded": 8}


@pytest.mark.parametrize("fault", ["refuse-529:1", "accept-then-drop:1", "max-queue:8"])
def test_refused_or_found_batch_counts_once(run_job: Callable[..., Summary], fault: str) -> None:
    summary = run_job(faults=[fault])
    assert (summary.outcomes, doubts(summary)) == ({"succeeded": 20}, [])


@pytest.mark.parametrize("seconds", [0.2, 60])
def test_doubt_ends_when_the_batch_is_found(tmp_path: Path, seconds: float) -> None:
    write_job(tmp_path, batch=STOP)
    ahead = [0.0]
    clock = lambda: time.time() + ahead[0]  # noqa: E731
    with simulator(tmp_path / "api", seconds=seconds, clock=clock, **LATE) as environ:
        command(tmp_path, environ, *RUN, "--no-wait")
        time.sleep(0.5)
        command(tmp_path, environ, *RUN, "--no-wait")
        assert command(tmp_path, environ, "reconcile", "job.yaml", "--assume-not-sent").returncode == 0
        assert len(doubts(status(tmp_path, environ))) == 1
        shown = command(tmp_path, environ, "status", "job.yaml").stdout
        assert re.search(r"batch 1 may have been paid twice: up to \$0\.\d{4}$", shown, re.MULTILINE)
        ahead[0] = 1001
        command(tmp_path, environ, *RUN, "--no-wait")
        ahead[0] = 1200
        assert command(tmp_path, environ, *RUN).returncode == 0
        assert doubts(status(tmp_path, environ)) == []
    assert paid(tmp_path / "api") == EACH_ONCE


def test_doubt_is_shared_by_the_parts_of_a_split_batch(tmp_path: Path) -> None:
    write_job(tmp_path, rows=8, batch=STOP)
    with simulator(tmp_path / "api", **LATE) as environ:
        assert command(tmp_path, environ, *RUN).returncode == 5
        assert command(tmp_path, environ, "reconcile", "job.yaml", "--assume-not-sent").returncode == 0
        [whole] = doubts(status(tmp_path, environ))
    with simulator(tmp_path / "api", faults=["refused-row:3"]) as environ:
        ended = command(tmp_path, environ, *RUN)
        parts = doubts(status(tmp_path, environ))
    assert (ended.returncode, len(parts)) == (3, 2)
    assert sum(parts) == pytest.approx(whole, abs=2e-6)
    assert re.search(
        r"^  doubt   2 batches may have been paid twice: up to \$0\.\d{4}$", ended.stdout, re.MULTILINE
    )
