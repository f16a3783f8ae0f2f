"""Rows of a run that wait for the row of another run with the same key."""

import sqlite3
from collections.abc import Iterator

from runner.errors import StateError
from runner.tabular.temporary import open_temporary_database


class WaitingRows:
    """A map from keys to rows in the order in which they came, in a temporary file: memory stays flat."""

    def __init__(self) -> None:
        self._db = open_temporary_database(
            "CREATE TABLE waiting (number INTEGER PRIMARY KEY, key TEXT UNIQUE, row BLOB)"
        )
        self._count = 0

    def put(self, key: str, row: bytes) -> None:
        """Keep a row until it is taken out by its key. Raises StateError if there is no room for it."""
        try:
            self._db.execute("INSERT INTO waiting (key, row) VALUES (?, ?)", (key, row))
        except sqlite3.OperationalError as error:
            raise StateError(
                f"a temporary file cannot hold the rows that are in another order: {error}; set SQLITE_TMPDIR to "
                "a folder with more room"
            ) from error
        self._count += 1

    def pop(self, key: str) -> bytes | None:
        """Take out the row with this key, or return None."""
        if not self._count:
            return None
        found = self._db.execute("DELETE FROM waiting WHERE key = ? RETURNING row", (key,)).fetchone()
        if found is None:
            return None
        self._count -= 1
        return bytes(found[0])

    def __iter__(self) -> Iterator[bytes]:
        """Yield the rows that are left, in the order in which they came."""
        return (bytes(row) for (row,) in self._db.execute("SELECT row FROM waiting ORDER BY number"))

    def close(self) -> None:
        """Delete all rows."""
        self._db.close()
