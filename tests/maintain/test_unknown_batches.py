"""The decisions of a person about batches that may or may not have been accepted."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.outputs import records
from tests.support.processes import RUN, command
from tests.support.projects import EACH_ONCE, SPEC, write_job
from tests.support.simulator import accepted, create_batch, paid, simulator, simulator_client

STOP = {**SPEC["batch"], "on_unknown": "stop", "grace_seconds": 0.3}
LONGEST = 75.0
"""Seconds that a simulated batch of about a minute takes at most."""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_job(tmp_path, batch=STOP)
    return tmp_path


def clock(ahead: list[float]) -> Callable[[], float]:
    """A clock that is so many seconds ahead."""
    return lambda: time.time() + ahead[0]


def run_id(root: Path) -> str:
    [folder] = (root / ".runner" / "runs").iterdir()
    return folder.name


def test_unknown_batch_stops_the_run_with_the_commands_to_use(project: Path) -> None:
    with simulator(project / "api", faults=["refuse-504"]) as environ:
        ended = command(project, environ, *RUN)
    assert (ended.returncode, accepted(project / "api")) == (5, 2)
    commands = re.findall(r"^  runner (\w+) (\w+) (--[\w-]+)", ended.stderr, re.MULTILINE)
    assert commands == [
        ("reconcile", run_id(project), "--adopt"),
        ("reconcile", run_id(project), "--assume-not-sent"),
    ]


def test_batch_declared_not_sent_is_sent(project: Path) -> None:
    with simulator(project / "api", faults=["refuse-504"]) as environ:
        assert command(project, environ, *RUN).returncode == 5
        looked = command(project, environ, "reconcile", "job.yaml")
        assert (looked.returncode, "no batch in the workspace could be it" in looked.stderr) == (5, True)
        assert command(project, environ, "reconcile", run_id(project), "--assume-not-sent").returncode == 0
        assert command(project, environ, *RUN).returncode == 0
    assert paid(project / "api") == EACH_ONCE


def test_batch_given_by_id_is_adopted(project: Path) -> None:
    ahead = [0.0]
    with simulator(project / "api", seconds=60, clock=clock(ahead), faults=["accept-then-drop"]) as environ:
        assert command(project, environ, *RUN, "--no-wait").returncode == 4
        shown = command(project, environ, "reconcile", run_id(project)).stderr
        [batch_id] = re.findall(r"could be (msgbatch_\w+)", shown)
        wrong = command(project, environ, "reconcile", run_id(project), "--adopt", "msgbatch_nobody")
        assert (wrong.returncode, "msgbatch_nobody not found" in wrong.stderr) == (2, True)
        adopted = command(project, environ, "reconcile", run_id(project), "--adopt", batch_id)
        assert (adopted.returncode, "its results will confirm it" in adopted.stderr) == (0, True)
        ahead[0] = LONGEST
        assert command(project, environ, *RUN).returncode == 0
    assert paid(project / "api") == EACH_ONCE


def test_batch_already_in_use_is_not_adopted(project: Path) -> None:
    with simulator(project / "api", faults=["refuse-504"]) as environ:
        assert command(project, environ, *RUN).returncode == 5
        other = next((project / "api").glob("msgbatch_*.json")).stem
        ended = command(project, environ, "reconcile", run_id(project), "--adopt", other)
    assert (ended.returncode, "another batch of this project" in ended.stderr) == (2, True)


def test_adopted_foreign_batch_is_released(project: Path) -> None:
    ahead, foreign = [0.0], [f"somebody-1-1-{number}" for number in range(8)]
    with simulator(project / "api", seconds=60, clock=clock(ahead), faults=["refuse-504"]) as environ:
        assert command(project, environ, *RUN, "--no-wait").returncode == 4
        with simulator_client(environ["ANTHROPIC_BASE_URL"]) as api:
            batch_id = create_batch(api, *foreign).id
        shown = command(project, environ, "reconcile", run_id(project)).stderr
        assert re.findall(r"could be (msgbatch_\w+)", shown) == [batch_id]
        assert command(project, environ, "reconcile", run_id(project), "--adopt", batch_id).returncode == 0
    ahead[0] = LONGEST
    with simulator(project / "api", clock=clock(ahead)) as environ:
        ended = command(project, environ, *RUN)
        assert (ended.returncode, "someone else's results" in ended.stderr) == (5, True), ended.stderr
        assert command(project, environ, "reconcile", run_id(project), "--assume-not-sent").returncode == 0
        assert command(project, environ, *RUN).returncode == 0
    assert paid(project / "api") == EACH_ONCE
    assert all(json.dumps(one).count("somebody") == 0 for one in records(project / "out/all.jsonl"))


def test_run_without_unknown_batches_needs_no_decision(project: Path) -> None:
    with simulator(project / "api") as environ:
        assert command(project, environ, *RUN).returncode == 0
        ended = command(project, environ, "reconcile", run_id(project))
    assert (ended.returncode, "all batches are accounted for" in ended.stdout) == (0, True)


def test_batch_with_unreadable_results_can_be_adopted(project: Path) -> None:
    with simulator(project / "api", faults=["accept-then-drop", "archived"]) as environ:
        ended = command(project, environ, *RUN)
        [batch_id] = re.findall(r"it could be (msgbatch_\w+)", ended.stderr)
        adopted = command(project, environ, "reconcile", run_id(project), "--adopt", batch_id)
        assert (ended.returncode, adopted.returncode) == (5, 0), adopted.stderr
        assert command(project, environ, *RUN).returncode == 9
        assert command(project, environ, *RUN, "--accept-loss").returncode == 3
    assert max(paid(project / "api").values()) == 1


def test_not_sent_is_rejected_while_a_candidate_is_unfinished(project: Path) -> None:
    ahead = [0.0]
    with simulator(project / "api", seconds=60, clock=clock(ahead), faults=["accept-then-drop"]) as environ:
        assert command(project, environ, *RUN, "--no-wait").returncode == 4
        ended = command(project, environ, "reconcile", run_id(project), "--assume-not-sent")
        assert (ended.returncode, "may be paid twice" in ended.stderr) == (2, True)
        ahead[0] = LONGEST
        assert command(project, environ, *RUN).returncode == 0
    assert paid(project / "api") == EACH_ONCE
