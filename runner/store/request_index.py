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
    """The location of an answer: run, round, batch, and offset and length in bytes."""

    run: int
    round: int
    batch: int
    offset: int
    length: int


_MAX_ANSWERS = 20
_PLACE = "run, round, batch, result_offset, result_length"


class AnsweredRequests:
    """Requests of other runs that have an answer, by digest.

    The answer was valid or invalid then, which the rules of another spec may judge differently.
    """

    def __init__(self, db: sqlite3.Connection, run: int | None) -> None:
        self._db = db
        self._run = run
        # A temporary table, because an index on disk would be written while other runners use the state.
        db.execute("DROP TABLE IF EXISTS temp.invalid_answer")
        db.execute(
            f"CREATE TEMP TABLE invalid_answer AS SELECT digest, {_PLACE} FROM row WHERE outcome = 'invalid'"
            " AND digest > x'' AND result_offset IS NOT NULL"
            " AND run IN (SELECT run FROM outcome_count WHERE outcome = 'invalid')"
        )
        db.execute("CREATE INDEX temp.invalid_digest ON invalid_answer (digest)")
        self._sources = [
            f"SELECT {_PLACE} FROM {table} WHERE digest = ?1 AND run IS NOT ?2{condition}"
            for table, condition in (("row", " AND outcome = 'succeeded'"), ("invalid_answer", ""))
            if db.execute(f"SELECT EXISTS (SELECT 1 FROM {table} WHERE digest > x''{condition})").fetchone()[0]
        ]

    def find(self, digest: bytes) -> list[ResultLocation]:
        """Return the locations of the newest answers to a request, at most 20, newest first."""
        if not self._sources:
            return []
        query = f"{' UNION ALL '.join(self._sources)} ORDER BY run DESC LIMIT {_MAX_ANSWERS}"
        return [ResultLocation(*found) for found in self._db.execute(query, (digest, self._run))]
