"""Hashes of the keys of a run while it is prepared, to find keys that two rows have."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from runner.tabular.temporary import open_temporary_database

if TYPE_CHECKING:
    import sqlite3


class KeyHashes:
    """Hashes in a temporary file, which SQLite sorts on disk: memory stays flat."""

    def __init__(self) -> None:
        self._db: sqlite3.Connection | None = None

    def add(self, first_row: int, hashes: Iterable[int]) -> None:
        """Store the hashes of the keys of consecutive rows; those that begin with row 1 replace all others."""
        if self._db is None or first_row == 1:
            self.close()
            self._db = open_temporary_database("CREATE TABLE key_hash (hash INTEGER, row INTEGER)")
        pairs = ((hash, row) for row, hash in enumerate(hashes, first_row))
        self._db.executemany("INSERT INTO key_hash VALUES (?, ?)", pairs)

    def take_duplicates(self) -> list[tuple[int, int]]:
        """Return at most 20 pairs of rows, earlier first, whose keys have equal hashes; delete all hashes."""
        if self._db is None:
            return []
        query = "SELECT min(row), max(row) FROM key_hash GROUP BY hash HAVING count(*) > 1 ORDER BY 1 LIMIT 20"
        found = self._db.execute(query).fetchall()
        self.close()
        return found

    def close(self) -> None:
        """Delete all hashes."""
        if self._db is not None:
            self._db.close()
            self._db = None
