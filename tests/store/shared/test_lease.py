"""One runner at a time has the lease on a spec of a shared state; without it, none can write or send."""

import threading
import time
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from runner.errors import StateError, StateLocked, UsageError
from runner.store.open_store import open_store
from runner.store.place import StatePlace
from runner.store.records import Run
from runner.store.shared.lease import Leases, is_free
from runner.store.shared.postgres import PostgresConnection
from runner.store.store import Store
from tests.support.servers import postgres, query_server

pytestmark = pytest.mark.server


def begin(store: Store, spec: str = "job") -> Run:
    store.hold(spec)
    return store.create_run(spec=spec, spec_path="job.yaml", fingerprint="", origin="0" * 64)


def end_lease(place: StatePlace) -> None:
    """Let the lease be as old as if nobody had renewed it for a day."""
    query = f"UPDATE lease SET until = now() - interval '1 day' WHERE project = '{place.project}'"  # noqa: S608
    query_server(str(place.database), query)


def test_second_runner_of_a_spec_is_refused(shared: StatePlace) -> None:
    with open_store(shared) as first, open_store(shared) as second:
        begin(first)
        with pytest.raises(StateLocked, match=r"'job' \(process .*; its lease lasts until") as caught:
            begin(second)
        assert caught.value.is_free is not None
        assert not caught.value.is_free()
    assert caught.value.is_free()


@pytest.mark.parametrize("seconds", ["1m", "nan", "-5", "0", "1e9"])
def test_impossible_length_of_a_lease_is_named(
    shared: StatePlace, monkeypatch: pytest.MonkeyPatch, seconds: str
) -> None:
    monkeypatch.setenv("RUNNER_LEASE_SECONDS", seconds)
    with pytest.raises(UsageError, match=f"RUNNER_LEASE_SECONDS is '{seconds}'"), open_store(shared):
        pass


def test_run_that_another_runner_discards_has_no_answers(shared: StatePlace) -> None:
    with open_store(shared) as first, open_store(shared) as second:
        run = begin(first)
        answers = second.answered_requests()
        first.delete_run(run)
        assert answers.find(b"digest") == []


def test_two_specs_are_held_at_once(shared: StatePlace) -> None:
    with open_store(shared) as first, open_store(shared) as second:
        run, other = begin(first, "a"), begin(second, "b")
        first.update_run(run, rows=1)
        second.update_run(other, rows=2)
    with open_store(shared, lock=False) as store:
        assert [(one.spec, one.rows) for one in store.runs()] == [("b", 2), ("a", 1)]


def test_variants_of_a_spec_are_held_together(shared: StatePlace) -> None:
    with open_store(shared) as first, open_store(shared) as second:
        begin(first, "job@a")
        with pytest.raises(StateLocked):
            begin(second, "job@b")


def test_lease_is_free_after_the_end(shared: StatePlace) -> None:
    with open_store(shared) as store:
        begin(store)
        assert not is_free(shared, "job")
    with open_store(shared) as store:
        store.hold("job")


def test_renewal_under_way_at_the_end_keeps_nothing(shared: StatePlace) -> None:
    with open_store(shared) as store:
        store.hold("job")
        query = f"SELECT owner FROM lease WHERE project = '{shared.project}'"  # noqa: S608
        [(owner,)] = query_server(str(shared.database), query)
    later = "UPDATE lease SET until = now() + interval '1 day' WHERE"
    query_server(str(shared.database), f"{later} project = '{shared.project}' AND owner = '{owner}'")
    assert is_free(shared, "job")


def test_lease_is_awaited_while_the_server_is_away(tmp_path: Path) -> None:
    with postgres() as url:
        place = StatePlace(tmp_path, url, f"file://{tmp_path}/files", "p")
        with open_store(place):
            assert is_free(place, "job")
    assert not is_free(place, "job")


def test_end_does_not_wait_for_a_lost_server(tmp_path: Path) -> None:
    with ExitStack() as opened:
        with postgres() as url:
            store = opened.enter_context(open_store(StatePlace(tmp_path, url, f"file://{tmp_path}/files", "p")))
            store.hold("job")
        began = time.monotonic()
    assert time.monotonic() - began < 100


def test_owner_of_a_lost_lease_cannot_write(shared: StatePlace) -> None:
    with open_store(shared) as first, open_store(shared) as second:
        run = begin(first)
        end_lease(shared)
        second.hold("job")
        with pytest.raises(StateLocked, match="has taken over"):
            first.update_run(run, rows=1)
        with pytest.raises(StateLocked, match="has taken over"):
            first.check_lock()
        with pytest.raises(StateLocked, match="has taken over"):
            first.guard_sending().confirm()
        assert second.runs()[0].rows == 0


def test_other_leases_do_not_hide_a_lost_one(shared: StatePlace) -> None:
    with open_store(shared) as first, open_store(shared) as second:
        run = begin(first)
        # The lease on a second spec, as if the answer of the server had been lost.
        query_server(
            str(shared.database),
            f"INSERT INTO lease SELECT project, 'other', owner, holder, fence, until, version FROM lease "  # noqa: S608
            f"WHERE project = '{shared.project}'",
        )
        query = f"UPDATE lease SET until = 'epoch' WHERE project = '{shared.project}'"  # noqa: S608
        query_server(str(shared.database), query)
        second.hold("job")
        with pytest.raises(StateLocked, match="has taken over"):
            first.update_run(run, rows=1)


def test_take_over_waits_for_a_commit(shared: StatePlace) -> None:
    with (
        open_store(shared) as second,
        closing(PostgresConnection(shared)) as connection,
        closing(Leases(shared, connection)) as first,
    ):
        first.hold("job")
        taken = threading.Thread(target=second.hold, args=("job",), daemon=True)
        with connection.transaction():
            end_lease(shared)
            # As it is done right before the COMMIT.
            first.confirm()
            taken.start()
            taken.join(0.5)
            assert taken.is_alive()
        taken.join(60)
        assert not taken.is_alive()
        with pytest.raises(StateLocked, match="has taken over"), connection.transaction():
            pass


def test_nothing_is_written_without_a_lease(shared: StatePlace) -> None:
    with open_store(shared) as store, pytest.raises(StateError, match="while a lease is held"):
        store.create_run(spec="job", spec_path="job.yaml", fingerprint="", origin="0" * 64)


def test_projects_do_not_see_each_other(shared: StatePlace) -> None:
    other = StatePlace(shared.folder, shared.database, shared.files, "other project")
    with open_store(shared) as store, open_store(other) as second:
        begin(store)
        store.event_log.add("job", None, "failed", "", id=shared.project, body="{}")
        assert (second.runs(), second.event_log.pending("job")) == ([], [])
        second.hold("job")


def cut_off(place: StatePlace) -> None:
    """Let the server end all connections but this one."""
    query_server(
        str(place.database),
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND datname = 'postgres'",
    )


def test_lost_connection_is_opened_again(shared: StatePlace) -> None:
    with open_store(shared) as store:
        run = begin(store)
        cut_off(shared)
        assert store.runs()[0].id == run.id
        cut_off(shared)
        store.update_run(run, rows=7)
        assert store.runs()[0].rows == 7


def test_connection_lost_in_a_transaction_undoes_it(shared: StatePlace) -> None:
    with open_store(shared) as store:
        run = begin(store)
        with pytest.raises(StateError, match="cannot be used") as caught, store.transaction():
            store.update_run(run, rows=7)
            cut_off(shared)
        assert "secret" not in str(caught.value)
        assert store.runs()[0].rows == 0


@pytest.mark.parametrize(("is_short", "limit"), [(False, "5min"), (True, "10s")])
def test_transaction_of_a_suspended_runner_is_broken_off(
    shared: StatePlace, limit: str, *, is_short: bool
) -> None:
    # Whoever takes over would wait for its locks without an end.
    with closing(PostgresConnection(shared)) as connection:
        query, limits = "SELECT current_setting('idle_in_transaction_session_timeout')", []
        connection.confirm = lambda: limits.append(connection.execute(query).fetchone()[0])
        with connection.transaction(is_short=is_short):
            limits.append(connection.execute(query).fetchone()[0])
    assert limits == [limit, "10s"]


def test_broken_off_runner_that_kept_its_lease_goes_on(shared: StatePlace, postgres_url: str) -> None:
    with open_store(shared) as store:
        store.hold("job")
        with pytest.raises(StateError, match="cannot be used"), store.transaction():
            run = begin(store)
            kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle in transaction'"
            query_server(postgres_url, kill)
            store.update_run(run, rows=5)
        assert store.runs() == []
        assert begin(store).rows == 0
