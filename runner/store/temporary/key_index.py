"""A map from the keys of rows to bytes, in a temporary file."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from runner.tabular.temporary import open_temporary_database


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
    tables = "CREATE TABLE value (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID"
    with closing(open_temporary_database(tables)) as connection:
        yield KeyIndex(connection)
