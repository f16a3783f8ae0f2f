"""A move that is killed leaves at most one place that may send, and is finished by the same command."""

import os
import re
import shutil
import sys
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from runner.errors import StateError
from runner.store.moving.move import move_to_folder, move_to_shared
from runner.store.open_store import open_store
from runner.store.place import StatePlace
from tests.support.processes import RUN, command, kill
from tests.support.projects import BATCHES, EACH_ONCE
from tests.support.servers import query_server
from tests.support.simulator import accepted, paid

pytestmark = [pytest.mark.slow, pytest.mark.server]

CHANGES = re.compile(rb"INSERT|UPDATE|DELETE|COMMIT")


def killed_at_change(number: int) -> None:
    """Have this process killed just before its change of this number: of the database, an object or a name."""
    import obstore
    import psycopg

    left = [number]
    execute, executemany, put = psycopg.Connection.execute, psycopg.Cursor.executemany, obstore.put

    def tick() -> None:
        left[0] -= 1
        if left[0] == 0:
            kill(os.getpid())

    def count_statement(connection: Any, statement: Any, *rest: Any) -> Any:
        text = statement if isinstance(statement, bytes) else str(statement).encode()
        # The lease is renewed at any time.
        if CHANGES.match(text) and b"lease" not in text:
            tick()
        return execute(connection, statement, *rest)

    def count_many(cursor: Any, *rest: Any) -> Any:
        tick()
        return executemany(cursor, *rest)

    def count_object(*words: Any, **named: Any) -> Any:
        tick()
        return put(*words, **named)

    # The process is the test's own, and these are not functions of the runner.
    psycopg.Connection.execute = count_statement  # type: ignore[assignment, method-assign]
    psycopg.Cursor.executemany = count_many  # type: ignore[assignment, method-assign]
    obstore.put = count_object
    sys.addaudithook(lambda event, _: tick() if event in ("os.rename", "os.remove") else None)


@pytest.fixture
def here(tmp_path: Path, request: pytest.FixtureRequest, shared: dict[str, str]) -> StatePlace:
    """The shared state, as the machine sees it whose folder has the run that has begun."""
    request.getfixturevalue("begun")
    shutil.copytree(tmp_path / ".runner", tmp_path / "before")
    return StatePlace(tmp_path / ".runner", *(shared[f"RUNNER_{name}"] for name in ("STATE", "FILES", "PROJECT")))


def end_lease(place: StatePlace) -> None:
    query_server(str(place.database), f"DELETE FROM lease WHERE project = '{place.project}'")  # noqa: S608


def begin_again(root: Path, place: StatePlace) -> None:
    """Let the run be in its folder alone, as before the first move."""
    with open_store(StatePlace(root / "none", place.database, place.files, "none"), lock=False):
        pass
    for table in ("run", "event", "moved", "lease"):
        query_server(str(place.database), f"DELETE FROM {table} WHERE project = '{place.project}'")  # noqa: S608
    for folder in (root / "bucket", root / ".runner", root / "other machine" / ".runner"):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(root / "before", root / ".runner")


def places_that_may_send(root: Path, here: StatePlace) -> set[str]:
    """The places from which a runner would go on with the run."""
    places = {
        "folder": StatePlace(here.folder),
        "other folder": StatePlace(root / "other machine" / ".runner"),
        "shared": replace(here, folder=root / "third machine" / ".runner"),
    }
    found = set()
    for name, place in places.items():
        with suppress(StateError), open_store(place) as store:
            found |= {name for run in store.runs() if run.state == "running"}
    return found


def test_killed_move_to_a_shared_state_is_finished(
    tmp_path: Path, begun: dict[str, str], shared: dict[str, str], here: StatePlace
) -> None:
    found = set[frozenset[str]]()
    for number in count(1):
        begin_again(tmp_path, here)
        ended = command(tmp_path, {**begun, **shared}, "move", before=partial(killed_at_change, number))
        end_lease(here)
        found.add(frozenset(places_that_may_send(tmp_path, here)))
        move_to_shared(here)
        assert places_that_may_send(tmp_path, here) == {"shared"}
        if ended.returncode == 0:
            break
    assert number > 20 and found == {frozenset({"folder"}), frozenset(), frozenset({"shared"})}
    assert command(tmp_path, {**begun, **shared}, *RUN).returncode == 0
    assert paid(tmp_path / "api") == EACH_ONCE and accepted(tmp_path / "api") == BATCHES


def test_killed_move_to_a_folder_is_finished(
    tmp_path: Path, other: Path, begun: dict[str, str], shared: dict[str, str], here: StatePlace
) -> None:
    found = set[frozenset[str]]()
    for number in count(1):
        begin_again(tmp_path, here)
        move_to_shared(here)
        words = ("move", "--to", "local")
        ended = command(other, {**begun, **shared}, *words, before=partial(killed_at_change, number))
        end_lease(here)
        found.add(frozenset(places_that_may_send(tmp_path, here)))
        move_to_folder(replace(here, folder=other / ".runner"))
        assert places_that_may_send(tmp_path, here) == {"other folder"}
        if ended.returncode == 0:
            break
    assert number > 20 and found == {frozenset({"shared"}), frozenset(), frozenset({"other folder"})}
    assert command(other, begun, *RUN).returncode == 0
    assert paid(tmp_path / "api") == EACH_ONCE and accepted(tmp_path / "api") == BATCHES
