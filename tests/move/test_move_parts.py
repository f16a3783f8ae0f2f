"""All that belongs to runs moves with them, and nobody works on them meanwhile."""

import sqlite3
from pathlib import Path

import pytest

from runner.errors import StateError, StateLocked
from runner.files.object_store import ObjectStore
from runner.store.database import create_database, open_database
from runner.store.moving.copy_runs import list_table_columns
from runner.store.moving.move import move_to_folder, move_to_shared
from runner.store.open_store import open_store
from runner.store.place import StatePlace
from runner.store.shared.lease import Leases
from runner.store.shared.postgres import PostgresConnection
from runner.store.store import Store
from tests.support import DATA
from tests.support.processes import RUN, command
from tests.support.projects import BATCHES
from tests.support.servers import query_server
from tests.support.simulator import accepted

pytestmark = pytest.mark.server
TABLES = ("run", "batch", "excluded_batch", "recovered_batch", "outcome_count", "event", "told")


@pytest.fixture
def target(tmp_path: Path, shared: dict[str, str]) -> StatePlace:
    return StatePlace(tmp_path / ".runner", *(shared[f"RUNNER_{name}"] for name in ("STATE", "FILES", "PROJECT")))


def begin(store: Store, spec: str) -> str:
    """Record a run with a file, an outcome, and an event that one receiver of several has."""
    store.hold(spec)
    run = store.create_run(spec=spec, spec_path="job.yaml", fingerprint="", origin="0" * 64, is_pilot=True)
    store.folder(run).to_write.spec.write_text(run.id)
    store.counts.add(run.number, {"succeeded": 3})
    store.event_log.add(spec, run, "finished", "", id=f"msg_{run.id}", body="{}")
    store.event_log.add(spec, None, "failed", "", id=f"msg_{spec}_{run.id}", body="{}")
    for event in store.event_log.pending(spec):
        store.event_log.note_told(event, f"told {spec} of {event.name}")
    store.update_run(run, state="running", rows=3)
    return run.id


def describe(store: Store) -> list[object]:
    """All that the store has of its runs but their numbers."""
    found: list[object] = []
    for run in store.runs():
        events = store.event_log.pending(run.spec)
        found += [run.spec, run.id, run.state, run.rows, run.is_pilot, run.created_at, store.counts.read(run)]
        found += [(event.id, event.body, store.event_log.list_told(event)) for event in events]
        found += [store.event_log.has_event(run.spec, run, "finished", ""), store.folder(run).spec.read_text()]
    return found


def test_all_of_several_runs_moves(target: StatePlace) -> None:
    with open_store(target.folder) as store:
        for spec in ("a", "b"):
            begin(store, spec)
        before = describe(store)
    assert move_to_shared(target).runs == 2
    with open_store(target, lock=False) as store:
        assert describe(store) == before
    assert move_to_folder(target).runs == 2
    with open_store(target.folder) as store:
        assert describe(store) == before


def test_databases_have_the_same_columns(tmp_path: Path, target: StatePlace) -> None:
    with open_store(target, lock=False):
        pass
    (tmp_path / "old").mkdir()
    with sqlite3.connect(tmp_path / "old" / "state.db") as database:
        database.executescript((DATA / "states" / "state_version_1.sql").read_text())
        database.execute("PRAGMA user_version = 1")
    database.close()
    for table in TABLES:
        query = f"SELECT column_name FROM information_schema.columns WHERE table_name = '{table}'"  # noqa: S608
        there = {name for (name,) in query_server(str(target.database), query)} - {"number", "project"}
        with create_database(tmp_path / "new") as new, open_database(tmp_path / "old", lock=True) as (old, _):
            assert set(list_table_columns(new, table)) == set(list_table_columns(old, table)) == there


def test_another_project_keeps_its_runs(target: StatePlace) -> None:
    neighbor = StatePlace(target.folder / "neighbor", target.database, target.files, f"{target.project} 2")
    with open_store(neighbor) as store:
        begin(store, "other")
        before = describe(store)
    with open_store(target.folder) as store:
        begin(store, "job")
    move_to_shared(target)
    move_to_folder(target)
    with open_store(neighbor) as store:
        assert describe(store) == before


def test_project_of_other_specs_takes_runs_too(target: StatePlace, tmp_path: Path) -> None:
    elsewhere = StatePlace(tmp_path / "elsewhere", target.database, target.files, target.project)
    with open_store(elsewhere) as store:
        begin(store, "other")
    with open_store(target.folder) as store:
        begin(store, "job")
    move_to_shared(target)
    with open_store(elsewhere, lock=False) as store:
        assert [run.spec for run in store.runs()] == ["job", "other"]


def test_store_that_fails_leaves_the_runs_in_the_folder(target: StatePlace, tmp_path: Path) -> None:
    with open_store(target.folder) as store:
        run = begin(store, "job")
    (tmp_path / "bucket").write_text("no folder")
    with pytest.raises(StateError):
        move_to_shared(target)
    with open_store(target.folder) as store:
        assert [one.id for one in store.runs()] == [run]


def test_nobody_takes_a_lease_while_a_project_moves(target: StatePlace) -> None:
    with open_store(target) as store:
        connection = PostgresConnection(target)
        mover = Leases(target, connection)
        mover.hold_project()
        with pytest.raises(StateLocked, match="is moving this project") as caught:
            store.hold("job")
        mover.close()
        assert caught.value.is_free is not None and caught.value.is_free()
        store.hold("job")
        with pytest.raises(StateLocked, match="is using 'job'"):
            Leases(target, connection).hold_project()
        connection.close()


@pytest.mark.parametrize("place", ["folder", "shared"])
def test_move_is_refused_while_a_runner_works(target: StatePlace, place: str) -> None:
    with open_store(target.folder if place == "folder" else target) as store:
        begin(store, "job")
        move = move_to_shared if place == "folder" else move_to_folder
        with pytest.raises(StateLocked, match="another runner is using"):
            move(target)
    assert move(target).runs == 1


@pytest.mark.slow
def test_runs_move_to_s3_and_back(
    tmp_path: Path, bucket: str, begun: dict[str, str], shared: dict[str, str]
) -> None:
    environ = {**begun, **shared, "RUNNER_FILES": f"s3://{bucket}/team/runs"}
    assert command(tmp_path, environ, "move").returncode == 0
    ended = command(tmp_path, environ, *RUN)
    assert ended.returncode == 0, ended.stderr
    back = command(tmp_path, environ, "move", "--to", "local")
    assert back.returncode == 0, back.stderr
    assert ObjectStore(f"s3://{bucket}").list_files("") == {}
    assert command(tmp_path, begun, "doctor").returncode == 0
    assert command(tmp_path, begun, *RUN).returncode == 0
    assert accepted(tmp_path / "api") == BATCHES
