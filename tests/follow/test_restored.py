"""A state that is older than reality, from a backup or a copied machine, pays for nothing again."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runner import Summary
from runner.api.remote_batch import RETENTION_SECONDS
from tests.support.processes import RUN, command
from tests.support.projects import EACH_ONCE, SPEC, forget_queue, plan_of_edited_job, write_job
from tests.support.simulator import end_batches, paid, simulator

SETTINGS = {**SPEC["batch"], "grace_seconds": 900, "on_unknown": "stop"}


def run_after_backup(root: Path, sent_before: int) -> None:
    """Send a job whose state is backed up after so many creates, and restore the backup."""
    limit = [f"max-queue:{8 * sent_before}"]
    with simulator(root / "api", seconds=600, faults=limit) as environ:
        assert command(root, environ, *RUN, "--no-wait").returncode == 4
    forget_queue(root)
    shutil.copytree(root / ".runner", root / "backup")
    with simulator(root / "api", seconds=600) as environ:
        assert command(root, environ, *RUN, "--no-wait").returncode == 4
    assert paid(root / "api") == EACH_ONCE
    shutil.rmtree(root / ".runner")
    (root / "backup").rename(root / ".runner")


@pytest.mark.parametrize("sent_before", [0, 1, 2])
@pytest.mark.parametrize("has_ended", [True, False])
def test_restored_state_takes_the_results_of_its_batches(
    tmp_path: Path, sent_before: int, *, has_ended: bool
) -> None:
    write_job(tmp_path, batch=SETTINGS)
    run_after_backup(tmp_path, sent_before)
    if has_ended:
        end_batches(tmp_path / "api")
    moments: list[str] = []
    with simulator(tmp_path / "api", on=moments.append) as environ:
        if not has_ended:
            assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
    end_batches(tmp_path / "api")
    with simulator(tmp_path / "api", on=moments.append) as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
        assert command(tmp_path, environ, "doctor", "--remote").returncode == 0
    assert (paid(tmp_path / "api"), "create" in moments) == (EACH_ONCE, False)


def test_doubt_in_a_restored_state_is_the_max_cost(tmp_path: Path) -> None:
    max_cost = plan_of_edited_job(tmp_path, batch=SETTINGS).cost["max"]
    run_after_backup(tmp_path, 0)
    end_batches(tmp_path / "api")
    with simulator(tmp_path / "api", clock=lambda: time.time() + RETENTION_SECONDS) as environ:
        assert command(tmp_path, environ, *RUN).returncode == 5
        assert command(tmp_path, environ, "reconcile", "job.yaml", "--assume-not-sent").returncode == 0
        found = json.loads(command(tmp_path, environ, "status", "job.yaml", "--json").stdout)
    assert sum(one["doubted_cost"] for one in found["batches"]) == pytest.approx(max_cost, abs=3e-6)


def test_doctor_reports_batches_that_a_restored_state_lacks(tmp_path: Path) -> None:
    write_job(tmp_path, batch=SETTINGS)
    run_after_backup(tmp_path, 1)
    end_batches(tmp_path / "api")
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, "doctor", "--remote")
    assert (ended.returncode, ended.stdout.count("an older state was restored")) == (8, 2)


def test_unknown_batches_of_others_only_delay_a_resumed_run(
    tmp_path: Path, run_job: Callable[..., Summary]
) -> None:
    write_job(tmp_path, batch=SETTINGS)
    assert run_job(faults=["foreign-batch", "max-queue:8"], wait=False).state == "running"
    assert (run_job().outcomes, paid(tmp_path / "api")) == ({"succeeded": 20}, EACH_ONCE)


def test_resumed_run_lists_the_workspace_once(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, batch={**SETTINGS, "max_requests": 2})
    moments: list[str] = []
    run_job(faults=["max-queue:0"], wait=False)
    assert run_job(on=moments.append).outcomes == {"succeeded": 20}
    # One list of one batch before each create says what time it is, and one call lists the workspace.
    assert (moments.count("create"), moments.count("list")) == (10, 11)
