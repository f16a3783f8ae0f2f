"""Open the state of a project: in its folder, or shared by machines."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path

from runner.errors import StateError
from runner.files.object_store import ObjectStore
from runner.store.connection import Connection
from runner.store.database import make_state_folder, open_database
from runner.store.lock import HeldLock
from runner.store.moving.moved import check_nothing_left
from runner.store.place import StatePlace
from runner.store.shared.lease import Leases, check_not_moved
from runner.store.shared.postgres import PostgresConnection, check_packages
from runner.store.shared.schema import prepare_schema
from runner.store.shared.shared_files import SharedFiles
from runner.store.store import Store


@contextmanager
def _open_shared(place: StatePlace, *, lock: bool) -> Iterator[tuple[PostgresConnection, Leases | None]]:
    make_state_folder(place.folder)
    with closing(PostgresConnection(place)) as connection:
        prepare_schema(connection, place)
        check_not_moved(connection)
        if not lock:
            yield connection, None
            return
        check_nothing_left(place.folder, str(place))
        with closing(Leases(place, connection)) as leases:
            yield connection, leases


def _open_database(
    place: StatePlace, *, lock: bool
) -> AbstractContextManager[tuple[Connection, HeldLock | Leases | None]]:
    return _open_shared(place, lock=lock) if place.is_shared else open_database(place.folder, lock=lock)


def _check_sent_runs(store: Store, shared: SharedFiles) -> None:
    """Raise StateError if a run was sent that the database does not know: it has lost the latest changes."""
    found = list(shared.find_sent_runs(_list_started(store)))
    # Another process may have started and sent one since.
    if lost := sorted(set(found) - _list_started(store)):
        raise StateError(
            f"run {lost[0]} was sent, but is not in the database: restore the database, or {store.remedy}"
        )


def _delete_purged_copies(store: Store) -> None:
    """Delete the rows and answers on this machine of runs that another one has purged."""
    for run in store.runs():
        if run.purged_at is not None:
            with suppress(OSError):
                store.folder(run).delete_copies()


def _list_started(store: Store) -> set[str]:
    """Return the ids of the runs of which something may have been sent, as the database has them."""
    return {run.id for run in store.runs() if run.state not in ("preparing", "prepared")}


@contextmanager
def open_store(place: StatePlace | Path, *, lock: bool = True) -> Iterator[Store]:
    """Open a state, creating it if necessary; a path is that of a folder with a state of its own.

    `lock` keeps other runners out until it is closed; on a shared state, `Store.hold` does for one spec.
    Raises StateLocked, and StateError if the state cannot be used.
    """
    place = StatePlace(place) if isinstance(place, Path) else place
    if place.is_shared:
        # Before the object store and the database, each of which would name its own packages alone.
        check_packages(place)
    objects = None if place.project_files is None else ObjectStore(place.project_files, origin=place.files_origin)
    with _open_database(place, lock=lock) as (connection, held):
        store = Store(place.folder, connection, held, objects)
        if lock and store.shared is not None:
            _check_sent_runs(store, store.shared)
        if lock and place.is_shared:
            _delete_purged_copies(store)
        try:
            yield store
        finally:
            store.key_hashes.close()
