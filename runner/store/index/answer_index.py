"""The answers of all runs of a project, by the digests of their requests.

They are in `answers.db` of the state folder: a cache made of the index files, and made again where it is missing.
"""

import hashlib
import sqlite3
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from runner.errors import StateError
from runner.store.database import choose_journal_mode
from runner.store.index.row_index import RowIndex
from runner.store.records import Run

# Changed with the tables, so that a cache of another form is made again.
_FORM = 1
_MAX_ANSWERS = 20
_CHUNK = 50_000
_WAIT_SECONDS = 60.0
_TABLES = """
DROP TABLE IF EXISTS run; DROP TABLE IF EXISTS answer;
CREATE TABLE run (number INTEGER PRIMARY KEY, version TEXT NOT NULL) STRICT;
CREATE TABLE answer (
    digest BLOB NOT NULL, run INTEGER NOT NULL, is_valid INTEGER NOT NULL, round INTEGER NOT NULL,
    batch INTEGER NOT NULL, result_offset INTEGER NOT NULL, result_length INTEGER NOT NULL,
    body_offset INTEGER NOT NULL, body_length INTEGER NOT NULL,
    PRIMARY KEY (digest, run, round, batch, result_offset)
) STRICT, WITHOUT ROWID;
"""


class Location(NamedTuple):
    """The location of an answer, or of the params of a request: offset and length are bytes."""

    run: int
    round: int
    batch: int
    offset: int
    length: int


class AnsweredRequests:
    """The requests of some runs that have an answer, by digest, as the runs are when the first one is looked for.

    An answer was valid or invalid then, which the rules of another spec may judge differently. The cache is not
    used if other processes write to it for longer than `wait` seconds.
    """

    def __init__(self, folder: Path, rows: RowIndex, runs: Sequence[Run], *, wait: float = _WAIT_SECONDS) -> None:
        self._path, self._rows, self._runs, self._wait = folder / "answers.db", rows, runs, wait

    def find(self, digest: bytes) -> list[Location]:
        """Return the locations of the newest answers to a request, at most 20, newest first."""
        query = "SELECT run, round, batch, result_offset, result_length FROM answer WHERE digest = ?"
        return self._look_up(f"{query} ORDER BY run DESC, round DESC, batch DESC", digest, _MAX_ANSWERS)

    def find_request(self, digest: bytes) -> Location | None:
        """Return the location of the newest params of a request whose answer was valid."""
        query = "SELECT run, round, batch, body_offset, body_length FROM answer WHERE digest = ?"
        return next(iter(self._look_up(f"{query} AND is_valid AND batch > 0 ORDER BY run DESC", digest, 1)), None)

    def _look_up(self, query: str, digest: bytes, most: int) -> list[Location]:
        if not self._numbers:
            return []
        try:
            return self._read(query, digest, most)
        except sqlite3.OperationalError as error:
            raise StateError(f"{self._path} cannot be read: {error}: run again") from error
        except sqlite3.Error:
            # A damaged page shows when it is read.
            self._db.close()
            del self._db
            self._path.unlink(missing_ok=True)
        return self._read(query, digest, most)

    def _read(self, query: str, digest: bytes, most: int) -> list[Location]:
        found = self._db.execute(query, (digest,))
        ours = (Location(*one) for one in found if one[0] in self._numbers)
        return list(islice(ours, most))

    @cached_property
    def _numbers(self) -> set[int]:
        return {run.number for run in self._runs}

    @cached_property
    def _db(self) -> sqlite3.Connection:
        """The cache, with the answers of all runs as they are now."""
        with suppress(sqlite3.Error, OSError):
            try:
                return self._open(self._path)
            except sqlite3.OperationalError:
                # Another process may be using it: without its file, that one would fail.
                raise
            except sqlite3.Error:
                # It is damaged, and nothing is lost with a cache.
                self._path.unlink()
            return self._open(self._path)
        with suppress(sqlite3.Error):
            return self._open(None)
        raise StateError(
            "a temporary file cannot hold the answers of earlier runs; set SQLITE_TMPDIR to another folder"
        )

    def _open(self, path: Path | None) -> sqlite3.Connection:
        with ExitStack() as stack:
            database = stack.enter_context(closing(_connect(path, self._wait)))
            self._update(database)
            stack.pop_all()
            return database

    def _update(self, database: sqlite3.Connection) -> None:
        """Take in the runs that are new or have changed."""
        database.execute("BEGIN IMMEDIATE")
        known = dict(database.execute("SELECT number, version FROM run"))
        now = {run.number: (run, self._version(run)) for run in self._runs}
        for number, (run, version) in now.items():
            if known.get(number) == version:
                continue
            if number in known:
                database.execute("DELETE FROM answer WHERE run = ?", (number,))
            try:
                self._add_run(database, run)
            except StateError:
                # As for an answer whose file is missing: what cannot be read is not there.
                database.execute("DELETE FROM answer WHERE run = ?", (number,))
                database.execute("DELETE FROM run WHERE number = ?", (number,))
                continue
            database.execute("INSERT OR REPLACE INTO run VALUES (?, ?)", (number, version))
        database.execute("COMMIT")

    def _version(self, run: Run) -> str:
        """Return a digest of all that the answers of a run depend on."""
        indexes = [
            (one.round, one.batch, one.request_index, one.result_index) for one in self._rows.batches_of(run)
        ]
        return hashlib.sha256(repr((run.id, run.unsent_index, indexes)).encode()).hexdigest()

    def _add_run(self, database: sqlite3.Connection, run: Run) -> None:
        answers = self._rows.read_answers(run)
        # Sorted as in the table, a chunk is written several times faster.
        while chunk := sorted(islice(answers, _CHUNK)):
            database.executemany(
                "INSERT OR REPLACE INTO answer VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                ((digest, run.number, *rest) for digest, *rest in chunk),
            )


def forget_answers(folder: Path, run: Run) -> None:
    """Delete what the cache has of a run, without a trace. A cache that cannot be used stays as it is."""
    path = folder / "answers.db"
    if not path.exists():
        return
    with suppress(sqlite3.Error, OSError), closing(_connect(path, _WAIT_SECONDS)) as database:
        database.execute("PRAGMA secure_delete = ON")
        database.execute("DELETE FROM answer WHERE run = ?", (run.number,))
        database.execute("DELETE FROM run WHERE number = ?", (run.number,))
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _connect(path: Path | None, wait: float) -> sqlite3.Connection:
    """Open the cache at a path, or without one in a temporary file."""
    if path is not None:
        path.touch(mode=0o600)
    database = sqlite3.connect(path or "", isolation_level=None, timeout=wait)
    if path is not None:
        database.execute(f"PRAGMA journal_mode = {choose_journal_mode(path.parent)}")
    database.execute("PRAGMA synchronous = NORMAL")
    if database.execute("PRAGMA user_version").fetchone()[0] != _FORM:
        database.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {_FORM}; COMMIT")
    return database
