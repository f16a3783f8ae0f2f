"""The workflow for GitHub Actions keeps its state, and knows when it has lost it."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.recipes.repository import WORKFLOW, Repository
from tests.support.simulator import paid

pytestmark = pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed: gh has it built in")
EACH_ONCE = {("1", row): 1 for row in range(1, 9)}


@pytest.fixture
def repository(tmp_path: Path, with_runner: Callable[[Mapping[str, str]], dict[str, str]]) -> Repository:
    return Repository(tmp_path, with_runner)


def test_the_next_run_goes_on_with_the_saved_state(repository: Repository) -> None:
    first = repository.run("none")
    assert (first[0], "::notice::" in first[1]) == (0, True)
    assert repository.run("saved")[0] == 0
    assert (repository.root / "checkout-2" / "out" / "all.jsonl").read_text().count("\n") == 8
    assert paid(repository.root / "api") == EACH_ONCE
    assert repository.states() == 1


def test_failed_rows_fail_the_job_and_keep_the_state(repository: Repository) -> None:
    repository.run("none", mix=lambda one: "refused" if one.endswith("-3") else "succeeded")
    assert repository.run("saved")[0] == 3
    assert repository.run("saved")[0] == 3
    assert paid(repository.root / "api") == EACH_ONCE


def test_a_lost_state_is_found_out_and_recovered(repository: Repository) -> None:
    assert repository.run("none", dies=True)[0] == 0
    for _ in range(2):
        code, log = repository.run("saved")
        assert (code, "there is no saved state" in log) == (1, True)
    assert repository.run("recover")[0] == 0
    assert repository.run("saved")[0] == 0
    assert paid(repository.root / "api") == EACH_ONCE


def test_a_recovery_sends_only_by_decision(repository: Repository) -> None:
    repository.batch["max_requests"] = 3
    repository.run("none", dies=True, faults=["max-queue:3"])
    code, log = repository.run("recover")
    assert (code, "5 to send" in log, repository.states()) == (2, True, 0)
    assert repository.run("saved")[0] == 1
    assert sum(paid(repository.root / "api").values()) == 3
    assert repository.run("recover-and-send", seconds=0.1)[0] == 0
    assert paid(repository.root / "api") == EACH_ONCE


def test_a_recovery_that_finds_nothing_yet_saves_no_state(repository: Repository) -> None:
    repository.run("none", dies=True, batches_end=False)
    assert repository.run("recover")[0] == 0
    assert (repository.states(), repository.run("saved")[0]) == (0, 1)
    assert repository.run("recover")[0] == 0
    assert (repository.states(), paid(repository.root / "api")) == (1, EACH_ONCE)


def test_an_older_state_is_taken_only_if_it_is_asked_for(repository: Repository) -> None:
    repository.run("none")
    assert repository.run("saved", dies=True)[0] == 0
    code, log = repository.run("saved")
    assert (code, "did not save its state" in log) == (1, True)
    assert [repository.run(choice)[0] for choice in ("older", "saved")] == [0, 0]
    assert paid(repository.root / "api") == EACH_ONCE


def test_a_state_in_a_public_repository_is_refused(repository: Repository) -> None:
    repository.is_private = False
    code, log = repository.run("none")
    assert (code, "everyone can read" in log) == (1, True)


def test_two_runs_never_have_the_state_at_once() -> None:
    assert WORKFLOW["concurrency"] == {"group": "runner", "cancel-in-progress": False}
