"""A map from the keys of rows to bytes, in a temporary file."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager


class KeyIndex:
    """Bytes by key; memory stays flat. The first value of a key stays."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def add(self, key: str, value: bytes) -> None:
        """Store the value of a key."""
        self._db.execute("INSERT INTO value VALUES (?, ?) ON CONFLICT DO NOTHING", (key, value))

    def find(self, key: str) -> bytes | None:
        """Return the value of a key, or None."""
        found = self._db.execute("SELECT value FROM value WHERE key = ?", (key,)).fetchone()
        return None if found is None else bytes(found[0])


@contextmanager
def open_key_index() -> Iterator[KeyIndex]:
    """Yield an empty map, and delete it at the end."""
    # An empty name is a temporary database on disk, which is deleted with the connection.
    with closing(sqlite3.connect("", isolation_level=None)) as connection:
        connection.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -8000;"
            "CREATE TABLE value (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID; BEGIN"
        )
        yield KeyIndex(connection)
