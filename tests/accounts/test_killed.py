"""A run over two accounts that is killed, or loses an answer, finds its batches in the right one."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from runner.simulator.responses import DropConnection
from tests.support.processes import RUN, command, end, kill, start
from tests.support.projects import EACH_ONCE, SPEC, write_job
from tests.support.simulator import MAIN_ONLY, end_all, paid_by_all, sent_to, two_accounts

BATCH = {**SPEC["batch"], "max_requests": 4, "grace_seconds": 900, "on_unknown": "stop"}
NUMBERS = range(1, 7)
FORGET = (
    "UPDATE batch SET state = 'prepared', batch_id = NULL, intent_at = NULL, base_url = NULL, workspace_id = NULL,"
    " account = NULL"
)


def at(moment: str, number: int, act: Callable[[], None]) -> Callable[[str], None]:
    """Act when a moment is reached for the n-th time."""
    seen: list[str] = []

    def on(name: str) -> None:
        seen.append(name)
        if name == moment and seen.count(moment) == number:
            act()

    return on


def drop() -> None:
    raise DropConnection


@pytest.mark.slow
@pytest.mark.parametrize("number", NUMBERS)
def test_killed_create_is_found_in_its_account(tmp_path: Path, number: int) -> None:
    write_job(tmp_path, batch=BATCH)
    process: Any = None

    def act() -> None:
        kill(process.pid)
        drop()

    with two_accounts(tmp_path, on=at("created", number, act)) as environ:
        process = start(tmp_path, environ, *RUN)
        assert end(tmp_path, process).returncode == -9
        ended = command(tmp_path, environ, *RUN)
    assert ended.returncode == 0, ended.stderr
    assert paid_by_all(tmp_path) == EACH_ONCE


@pytest.mark.parametrize("number", [1, 2])
def test_lost_answer_is_found_with_that_key_only(tmp_path: Path, number: int) -> None:
    write_job(tmp_path, batch=BATCH)
    # A batch of somebody else, of the same size and in the other account, would have to be waited for.
    other = ["foreign-batch", "batch-hang"]
    faults = [[], other] if number == 1 else [other, []]
    with two_accounts(tmp_path, *faults, on=at("created", number, drop)) as environ:
        ended = command(tmp_path, environ, *RUN)
    assert ended.returncode == 0, ended.stderr
    assert "was accepted as msgbatch_" in ended.stderr
    assert paid_by_all(tmp_path) == EACH_ONCE


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2, 3])
def test_restored_state_finds_batches_in_all_accounts(tmp_path: Path, number: int) -> None:
    write_job(tmp_path, batch=BATCH)

    def copy() -> None:
        shutil.copytree(tmp_path / ".runner", tmp_path / "backup")

    with two_accounts(tmp_path, on=at("create", number, copy), seconds=600) as environ:
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
    sent = sent_to(tmp_path)
    shutil.rmtree(tmp_path / ".runner")
    (tmp_path / "backup").rename(tmp_path / ".runner")
    with two_accounts(tmp_path, seconds=600) as environ:
        # None of them has ended, so that each can be in each account.
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
        assert sent_to(tmp_path) == sent
    end_all(tmp_path)
    with two_accounts(tmp_path) as environ:
        ended = command(tmp_path, environ, *RUN)
    assert ended.returncode == 0, ended.stderr
    assert (sent_to(tmp_path), paid_by_all(tmp_path)) == (sent, EACH_ONCE)


@pytest.mark.parametrize("accounts", [MAIN_ONLY, {"RUNNER_ACCOUNTS": ""}], ids=["accounts", "key"])
def test_mark_of_another_workspace_stops_the_run(tmp_path: Path, accounts: dict[str, str]) -> None:
    write_job(tmp_path, batch={**SPEC["batch"], "max_requests": 20})
    with two_accounts(tmp_path, seconds=600) as environ:
        assert command(tmp_path, {**environ, **accounts}, *RUN, "--no-wait").returncode == 4
        # A database that is older than the files does not know of the create.
        with closing(sqlite3.connect(tmp_path / ".runner/state.db")) as database, database:
            database.execute(FORGET)
        ended = command(tmp_path, {**environ, **accounts, "ANTHROPIC_API_KEY": "second"}, *RUN, "--no-wait")
    assert (ended.returncode, "is in workspace wrkspc_simulated_main, but" in ended.stderr) == (7, True), ended
    assert sent_to(tmp_path) == (1, 0)


def test_lost_state_is_recovered_from_all_accounts(tmp_path: Path) -> None:
    write_job(tmp_path, batch=BATCH)
    with two_accounts(tmp_path) as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
        sent = sent_to(tmp_path)
        shutil.rmtree(tmp_path / ".runner")
        recovered = command(tmp_path, environ, "recover", "job.yaml", "--yes")
        assert recovered.returncode == 0, recovered.stderr
        assert command(tmp_path, environ, *RUN).returncode == 0
    assert (sent_to(tmp_path), min(sent) > 0) == (sent, True)
