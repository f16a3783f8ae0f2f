"""The database file of a state folder: made, opened, versioned, and locked against other runners."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from importlib.resources import files
from pathlib import Path

from runner.errors import Locked, StateError

VERSION = 1


@contextmanager
def _translated(folder: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StateError(f"{folder}/state.db cannot be used: {error}") from error


def _connect(folder: Path) -> sqlite3.Connection:
    path = folder / "state.db"
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        connection.close()
        raise StateError(f"{path} was written by a newer runner: upgrade this one")
    if version == 0 and any((folder / "runs").glob("*")):
        connection.close()
        raise StateError(f"{path} is gone or empty, but {folder}/runs holds runs: restore it, or move both away")
    if version == 0:
        schema = files("runner.store").joinpath("schema.sql").read_text("utf-8")
        connection.executescript(f"BEGIN;\n{schema}\nPRAGMA user_version = {VERSION};\nCOMMIT;")
    return connection


def _make_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ignore = folder / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    # Imported here: it costs 0.1 s, and only commands that change the state need it.
    from filelock import FileLock, Timeout

    lock = FileLock(folder / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise Locked(f"another runner is at work on {folder}: let it finish, or stop it first") from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def open_database(folder: Path, *, lock: bool) -> Iterator[sqlite3.Connection]:
    """Open the database of a state folder, making both if need be; `lock` keeps every other runner out meanwhile.

    Raises Locked, and StateError if the database cannot be used, also in the middle of its use.
    """
    _make_folder(folder)
    with _translated(folder), _locked(folder) if lock else nullcontext(), closing(_connect(folder)) as connection:
        yield connection
