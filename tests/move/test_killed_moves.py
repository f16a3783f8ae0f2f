"""A move that is killed leaves at most one place that may send, and is finished by the same command."""

import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runner.errors import StateError
from runner.store.place import StatePlace
from runner.store.store import open_store
from tests.support.processes import RUN, command, kill
from tests.support.projects import BATCHES, EACH_ONCE
from tests.support.simulator import accepted, paid

pytestmark = [pytest.mark.slow, pytest.mark.server]

CHANGES = re.compile(rb"INSERT|UPDATE|DELETE|COMMIT")


def killed_at_change(number: int) -> None:
    """Have this process killed just before its change of this number: of the database or of a file's name."""
    import psycopg

    left = [number]
    execute, executemany = psycopg.Connection.execute, psycopg.Cursor.executemany

    def count() -> None:
        left[0] -= 1
        if left[0] == 0:
            kill(os.getpid())

    def count_statement(connection: Any, statement: Any, *rest: Any) -> Any:
        text = statement if isinstance(statement, bytes) else str(statement).encode()
        # The lease is renewed at any time.
        if CHANGES.match(text) and b"lease" not in text:
            count()
        return execute(connection, statement, *rest)

    def count_many(cursor: Any, *rest: Any) -> Any:
        count()
        return executemany(cursor, *rest)

    # The process is the test's own, and these are not functions of the runner.
    psycopg.Connection.execute = count_statement  # type: ignore[assignment, method-assign]
    psycopg.Cursor.executemany = count_many  # type: ignore[assignment, method-assign]
    sys.addaudithook(lambda event, _: count() if event in ("os.rename", "os.remove") else None)


def places_that_may_send(root: Path, other: Path, shared: Mapping[str, str]) -> list[str]:
    """The places where a runner would go on with a run, as it looks from this machine and from another one."""
    url, files, project = (shared[f"RUNNER_{name}"] for name in ("STATE", "FILES", "PROJECT"))
    found = []
    places = {
        "local": StatePlace(root / ".runner"),
        "shared": StatePlace(root / ".runner", url, files, project),
        "shared, elsewhere": StatePlace(other / ".runner", url, files, project),
    }
    for name, place in places.items():
        with suppress(StateError), open_store(place) as store:
            found += [name for run in store.runs() if run.state == "running"]
    return found


def move_with_kills(root: Path, other: Path, environ: Mapping[str, str], *words: str) -> int:
    """Repeat a move that is killed at its first change, its second one and so on; return how often it was."""
    for number in range(1, 100):
        ended = command(root, environ, *words, "--wait-lock", "1m", before=partial(killed_at_change, number))
        found = places_that_may_send(root, other, environ)
        assert not ("local" in found and len(found) > 1), f"killed at {number}: {found}"
        if ended.returncode == 0:
            return number - 1
        assert ended.returncode == -9, ended.stderr
    raise AssertionError("it was killed each time")


def test_killed_moves_are_finished_and_pay_once(
    tmp_path: Path, other: Path, begun: dict[str, str], shared: dict[str, str]
) -> None:
    environ = {**begun, **shared, "RUNNER_LEASE_SECONDS": "1"}
    assert move_with_kills(tmp_path, other, environ, "move") > 8
    assert places_that_may_send(tmp_path, other, shared) == ["shared", "shared, elsewhere"]
    assert move_with_kills(tmp_path, other, environ, "move", "--to", "local") > 8
    assert places_that_may_send(tmp_path, other, shared) == ["local"]
    ended = command(tmp_path, begun, *RUN)
    assert ended.returncode == 0, ended.stderr
    assert command(tmp_path, begun, "doctor").returncode == 0
    assert paid(tmp_path / "api") == EACH_ONCE and accepted(tmp_path / "api") == BATCHES
