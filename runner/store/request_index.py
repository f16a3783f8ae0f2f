"""Requests by digest: those already seen in this run, and those already answered in other runs."""

import sqlite3
from typing import NamedTuple


class DigestIndex:
    """A map from digests to numbers, in a temporary file.

    Memory stays flat, and nothing waits for the disk.
    """

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -8000;"
            "CREATE TABLE digest (digest BLOB PRIMARY KEY, number INTEGER) WITHOUT ROWID; BEGIN"
        )

    def setdefault(self, digest: bytes, number: int) -> int:
        """Return the number first stored for a digest; a new digest gets `number`."""
        values = (digest, number)
        if self._db.execute("INSERT INTO digest VALUES (?, ?) ON CONFLICT DO NOTHING", values).rowcount:
            return number
        return self._find_number(digest) or 0

    def _find_number(self, digest: bytes) -> int | None:
        found = self._db.execute("SELECT number FROM digest WHERE digest = ?", (digest,)).fetchone()
        return None if found is None else int(found[0])

    def __contains__(self, digest: bytes) -> bool:
        return self._find_number(digest) is not None

    def close(self) -> None:
        """Delete all digests."""
        self._db.close()


class ResultLocation(NamedTuple):
    """The location of a successful result: run, round, batch, and offset and length in bytes."""

    run: int
    round: int
    batch: int
    offset: int
    length: int


class SucceededRequests:
    """Successful requests of other runs, by digest."""

    def __init__(self, db: sqlite3.Connection, run: int | None) -> None:
        self._db = db
        self._run = run
        query = "SELECT EXISTS (SELECT 1 FROM row WHERE outcome = 'succeeded' AND digest > x'')"
        self._has_any = bool(db.execute(query).fetchone()[0])

    def find(self, digest: bytes) -> ResultLocation | None:
        """Return the location of a request's newest answer, or None."""
        if not self._has_any:
            return None
        found = self._db.execute(
            "SELECT run, round, batch, result_offset, result_length FROM row"
            " WHERE digest = ? AND outcome = 'succeeded' AND run IS NOT ? ORDER BY run DESC LIMIT 1",
            (digest, self._run),
        ).fetchone()
        return None if found is None else ResultLocation(*found)
