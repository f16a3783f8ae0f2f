"""The database file of a state folder: made, opened, versioned, and locked against other runners."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from importlib.resources import files
from pathlib import Path

from runner.durable import private_file, private_folder
from runner.errors import Locked, StateError

VERSION = 4
_REMOTE = ("cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "lustre", "9p", "fuse.sshfs", "fuse.s3fs")
_REMEDY = "restore it, or move .runner away and let `runner recover SPEC` rebuild it from the API"


@contextmanager
def _translated(folder: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise StateError(f"{folder}/state.db cannot be used: {error}") from error


def _connect(folder: Path) -> sqlite3.Connection:
    path = folder / "state.db"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.fchmod(descriptor, 0o600)
    os.close(descriptor)
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    connection.execute(f"PRAGMA journal_mode = {'TRUNCATE' if _is_remote(folder) else 'WAL'}")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if not 0 <= version <= VERSION:
        connection.close()
        raise StateError(f"{path} was written by a newer runner: upgrade this one")
    if version == 0 and any((folder / "runs").glob("*")):
        connection.close()
        raise StateError(f"{path} is gone or empty, but {folder}/runs holds runs: {_REMEDY}")
    if version == 0:
        _execute(connection, "schema.sql", VERSION)
    return connection


def _execute(connection: sqlite3.Connection, script: str, version: int) -> None:
    """Run a script of this package in one transaction, at the end of which the database has a version."""
    text = files("runner.store").joinpath(script).read_text("utf-8")
    connection.executescript(f"BEGIN IMMEDIATE;\n{text}\nPRAGMA user_version = {version};\nCOMMIT;")


def _upgrade(connection: sqlite3.Connection, folder: Path) -> None:
    """Bring a database of an older version to this one, keeping a copy of what it was."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    # Version 1 left files to be read by whoever may look into the folder.
    for file in folder.rglob("*"):
        file.chmod(0o700 if file.is_dir() else 0o600)
    for old in range(version, VERSION):
        path = folder / f"state.db.{old}"
        private_file(path).close()
        with closing(sqlite3.connect(path)) as copy:
            connection.backup(copy)
        _execute(connection, f"upgrade_{old}.sql", old + 1)


def _is_remote(folder: Path) -> bool:
    """Whether a folder is on a file system of the network: WAL needs memory that all its users share."""
    try:
        lines = Path("/proc/mounts").read_text("utf-8", "replace").splitlines()
    except OSError:
        return False
    mounts = {place: kind for _, place, kind, *_ in (line.split(" ") for line in lines)}
    place = next(str(one) for one in (folder.resolve(), *folder.resolve().parents) if str(one) in mounts)
    return mounts[place] in _REMOTE or mounts[place].startswith("nfs")


def _make_folder(folder: Path) -> None:
    # Rows and answers can be anybody's secrets. A folder that was opened to others is closed again.
    private_folder(folder)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        with private_file(ignore) as file:
            file.write(b"*\n")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    # Imported here: it costs 0.1 s, and only commands that change the state need it.
    from filelock import FileLock, Timeout

    lock = FileLock(folder / "lock", timeout=0, mode=0o600)
    try:
        lock.acquire()
    except Timeout as error:
        raise Locked(f"another runner is at work on {folder}: let it finish, or stop it first") from error
    try:
        yield
    finally:
        lock.release()


def _check(connection: sqlite3.Connection, folder: Path) -> None:
    """Raise StateError if the database is damaged, or does not know a run on disk of which something was sent."""
    found = [text for (text,) in connection.execute("PRAGMA integrity_check(3)")]
    if found != ["ok"]:
        raise StateError(f"{folder}/state.db is damaged ({'; '.join(found)}): {_REMEDY}")
    known = {
        name for (name,) in connection.execute("SELECT id FROM run WHERE state NOT IN ('preparing', 'prepared')")
    }
    for path in sorted((folder / "runs").glob("*")):
        sent = (found for kind in ("*.sent", "*.noted") for found in (path / "bodies").glob(kind))
        if path.name not in known and any(sent):
            raise StateError(f"{folder}/state.db does not know the run {path.name}, which was sent: {_REMEDY}")


@contextmanager
def open_database(folder: Path, *, lock: bool) -> Iterator[sqlite3.Connection]:
    """Open the database of a state folder, making both if need be; `lock` keeps every other runner out meanwhile.

    With the lock an older database is brought up to date, and the whole of it is checked. Raises Locked, and
    StateError if the database cannot be used, also in the middle of its use.
    """
    _make_folder(folder)
    with _translated(folder), ExitStack() as stack:
        if lock:
            stack.enter_context(_locked(folder))
        connection = stack.enter_context(closing(_connect(folder)))
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version < VERSION:
            if not lock:
                stack.enter_context(_locked(folder))
            _upgrade(connection, folder)
        if lock:
            _check(connection, folder)
        yield connection
