"""Open a database in a temporary file, for what would not fit into memory."""

import sqlite3


def open_temporary_database(tables: str) -> sqlite3.Connection:
    """Return a connection to a new database with these tables, given as SQL; the file is deleted with it.

    Nothing waits for the disk, and all writes are one transaction that is never committed.
    """
    # An empty name is a temporary database on disk.
    connection = sqlite3.connect("", isolation_level=None)
    connection.executescript(
        f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -8000; {tables}; BEGIN"
    )
    return connection
