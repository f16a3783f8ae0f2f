"""The tables of a shared state: made once, upgraded while nobody uses them, refused if a newer runner did."""

import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from runner.errors import StateError, StateLocked
from runner.store.open_store import open_store
from runner.store.place import StatePlace
from tests.support import DATA
from tests.support.servers import query_server

pytestmark = pytest.mark.server

OLD_TABLES = (DATA / "states/postgres_version_1.sql").read_text()
OLD_LEASE = "INSERT INTO lease (project, spec, owner, holder, fence, until) VALUES ('p', 'job', 'o', 'old', 1, {})"
COLUMNS = "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns"
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


@pytest.fixture
def empty(tmp_path: Path, postgres_url: str) -> Iterator[StatePlace]:
    """A database of its own without tables."""
    name = f"runner_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        url = f"{postgres_url.removesuffix('postgres')}{name}"
        yield StatePlace(tmp_path / ".runner", url, f"file://{tmp_path}/files", "p")
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def old(empty: StatePlace) -> StatePlace:
    """A database with tables of version 1."""
    query(empty, OLD_TABLES)
    return empty


def query(place: StatePlace, *statements: str) -> Sequence[Any]:
    return query_server(str(place.database), *statements)


def open_and_close(place: StatePlace) -> None:
    with open_store(place):
        pass


def columns(place: StatePlace) -> set[tuple[str, ...]]:
    return {tuple(row) for row in query(place, f"{COLUMNS} WHERE table_schema = 'public'")}


@pytest.mark.parametrize("version", [0, 1])
def test_tables_are_made_or_upgraded_once(empty: StatePlace, shared: StatePlace, version: int) -> None:
    if version:
        query(empty, OLD_TABLES)
    with psycopg.connect(str(empty.database)) as holder, ThreadPoolExecutor(2) as pool:
        holder.execute("SELECT pg_advisory_xact_lock(7255118)")
        opened = [pool.submit(open_and_close, empty) for _ in range(2)]
        while query(empty, WAITING) != [(2,)]:
            time.sleep(0.01)
        holder.commit()
        assert [one.result() for one in opened] == [None, None]
    open_and_close(shared)
    assert columns(empty) == columns(shared)
    assert query(empty, "SELECT version FROM state_version") == [(2,)]


def test_used_tables_are_not_upgraded(old: StatePlace) -> None:
    query(old, OLD_LEASE.format("now() + interval '1 hour'"))
    with pytest.raises(StateLocked, match=r"using 'job' of project 'p' \(old\): wait until they") as caught:
        open_and_close(old)
    assert caught.value.is_free is not None
    assert not caught.value.is_free()
    assert query(old, "SELECT version FROM state_version") == [(1,)]
    query(old, "UPDATE lease SET until = 'epoch'")
    assert caught.value.is_free()
    open_and_close(old)


def test_older_runner_takes_no_lease_after_an_upgrade(old: StatePlace) -> None:
    query(old, OLD_LEASE.format("now() - interval '1 hour'"))
    open_and_close(old)
    assert query(old, "SELECT owner, version FROM lease") == [("", 1)]
    with psycopg.connect(str(old.database)) as server, pytest.raises(psycopg.errors.NotNullViolation):
        server.execute(OLD_LEASE.format("now()"))
    with open_store(old) as store:
        store.hold("job")
        assert query(old, "SELECT fence, version FROM lease") == [(2, 2)]


def test_tables_of_a_newer_runner_are_refused(empty: StatePlace) -> None:
    with open_store(empty) as store:
        query(empty, "UPDATE state_version SET version = 3")
        with pytest.raises(StateError, match="was written by a newer runner: upgrade this runner") as caught:
            store.hold("job")
    assert "secret" not in str(caught.value)
    with pytest.raises(StateError, match="newer runner"):
        open_and_close(empty)
