"""Hashes of the keys of a run while it is prepared, to find keys that two rows have."""

import sqlite3
from collections.abc import Iterable


class KeyHashes:
    """A temporary table of hashes. SQLite sorts them on disk, so that memory stays flat."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def add(self, first_row: int, hashes: Iterable[int]) -> None:
        """Store the hashes of the keys of consecutive rows until `take_duplicates` is called."""
        self._db.execute("CREATE TEMP TABLE IF NOT EXISTS key_hash (hash INTEGER, row INTEGER)")
        pairs = ((hash, row) for row, hash in enumerate(hashes, first_row))
        self._db.executemany("INSERT INTO key_hash VALUES (?, ?)", pairs)

    def take_duplicates(self) -> list[tuple[int, int]]:
        """Return at most 20 pairs of rows, earlier first, whose keys have equal hashes; delete all hashes."""
        query = "SELECT min(row), max(row) FROM key_hash GROUP BY hash HAVING count(*) > 1 ORDER BY 1 LIMIT 20"
        found = self._db.execute(query).fetchall()
        self._db.execute("DROP TABLE key_hash")
        return found
