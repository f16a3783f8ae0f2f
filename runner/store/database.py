"""Create, open, upgrade and lock the database of a state folder."""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from importlib.resources import files
from pathlib import Path

from runner.errors import StateError
from runner.files.atomic import make_private_folder, open_private_file
from runner.store.connection import SqliteConnection
from runner.store.index.upgrade_rows import ROW_TABLE_VERSION, write_row_indexes
from runner.store.lock import HeldLock, lock_folder
from runner.store.moving.moved import check_at_home

SCHEMA_VERSION = 11
_NETWORK_FILESYSTEMS = (
    "cifs",
    "smb3",
    "smbfs",
    "afs",
    "ceph",
    "glusterfs",
    "lustre",
    "9p",
    "fuse.sshfs",
    "fuse.s3fs",
)
RECOVER = "run `runner recover SPEC` to rebuild it from the API"
_REMEDY = f"restore it, or move .runner away and {RECOVER}"


@contextmanager
def _map_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise StateError(f"{folder}/state.db cannot be used: {error}") from error


@contextmanager
def _connect(folder: Path) -> Iterator[sqlite3.Connection]:
    path = folder / "state.db"
    # Not opened here: the system drops all locks of a process on a file that it closes, and so those of SQLite.
    path.touch(mode=0o600)
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as connection:
        connection.execute(f"PRAGMA journal_mode = {choose_journal_mode(folder)}")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        # What a purge deletes is not left in the file.
        connection.execute("PRAGMA secure_delete = FAST")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if not 0 <= version <= SCHEMA_VERSION:
            raise StateError(f"{path} was written by a newer runner: upgrade this runner")
        if version == 0 and any((folder / "runs").glob("*")):
            raise StateError(f"{path} is missing or empty, but {folder}/runs contains runs: {_REMEDY}")
        if version == 0:
            _run_script(connection, "schema.sql", SCHEMA_VERSION)
        yield connection


@contextmanager
def create_database(path: Path) -> Iterator[SqliteConnection]:
    """Create a database without runs in the place of whatever is at a path, and yield it."""
    open_private_file(path).close()
    # Of a database that was killed while it was written.
    path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        _run_script(connection, "schema.sql", SCHEMA_VERSION)
        yield SqliteConnection(connection)


def _run_script(connection: sqlite3.Connection, script: str, version: int, more: str = "") -> None:
    """Run a script of this package, and `more` after it, and set the database version, in one transaction."""
    text = files("runner.store").joinpath("migrations", script).read_text("utf-8") + more
    connection.executescript(f"BEGIN IMMEDIATE;\n{text}\nPRAGMA user_version = {version};\nCOMMIT;")


def _upgrade(connection: sqlite3.Connection, folder: Path) -> None:
    """Upgrade an older database version by version, and keep a copy of each version."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    # Version 1 left its files readable by anyone with access to the folder.
    for file in folder.rglob("*"):
        file.chmod(0o700 if file.is_dir() else 0o600)
    for old in range(version, SCHEMA_VERSION):
        path = folder / f"state.db.{old}"
        open_private_file(path).close()
        with closing(sqlite3.connect(path)) as copy:
            connection.backup(copy)
        more = write_row_indexes(connection, folder) if old == ROW_TABLE_VERSION else ""
        _run_script(connection, f"upgrade_{old}.sql", old + 1, more)


def choose_journal_mode(folder: Path) -> str:
    """Return the journal mode of databases in a folder: on a network file system, WAL's memory is not shared."""
    return "TRUNCATE" if _is_network_folder(folder) else "WAL"


def _is_network_folder(folder: Path) -> bool:
    try:
        lines = Path("/proc/mounts").read_text("utf-8", "replace").splitlines()
    except OSError:
        return False
    mounts = {place: kind for _, place, kind, *_ in (line.split(" ") for line in lines)}
    place = next(str(one) for one in (folder.resolve(), *folder.resolve().parents) if str(one) in mounts)
    return mounts[place] in _NETWORK_FILESYSTEMS or mounts[place].startswith("nfs")


def make_state_folder(folder: Path) -> None:
    """Create a private state folder that git ignores."""
    # Rows and answers may be confidential, so a folder that was opened to others is made private again.
    make_private_folder(folder)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        with open_private_file(ignore) as file:
            file.write(b"*\n")


def _check_database(connection: sqlite3.Connection, folder: Path) -> None:
    """Raise StateError if the database is damaged, or has no record of a run on disk that was sent."""
    found = [text for (text,) in connection.execute("PRAGMA integrity_check(3)")]
    if found != ["ok"]:
        raise StateError(f"{folder}/state.db is damaged ({'; '.join(found)}): {_REMEDY}")
    known = {
        name for (name,) in connection.execute("SELECT id FROM run WHERE state NOT IN ('preparing', 'prepared')")
    }
    for path in sorted((folder / "runs").glob("*")):
        sent = (found for kind in ("*.sent", "*.noted") for found in (path / "bodies").glob(kind))
        if path.name not in known and any(sent):
            raise StateError(f"{folder}/state.db has no record of the run {path.name}, which was sent: {_REMEDY}")


@contextmanager
def open_database(folder: Path, *, lock: bool) -> Iterator[tuple[SqliteConnection, HeldLock | None]]:
    """Open the database of a state folder, creating both if necessary, and yield it with the lock.

    `lock` keeps other runners out until the database is closed, and checks the whole database first. An older
    database is upgraded, which always takes the lock. Raises StateLocked, and StateError if the database is
    unusable, even if that shows only while it is open.
    """
    make_state_folder(folder)
    with _map_errors(folder), ExitStack() as stack:
        held = stack.enter_context(lock_folder(folder)) if lock else None
        check_at_home(folder)
        connection = stack.enter_context(_connect(folder))
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version < SCHEMA_VERSION:
            if not lock:
                stack.enter_context(lock_folder(folder))
            _upgrade(connection, folder)
        if lock:
            _check_database(connection, folder)
        yield SqliteConnection(connection), held
