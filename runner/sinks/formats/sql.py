"""SQL sink: a table, written in one transaction. A row replaces an older row with the same key."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

from runner.io_types.annotations import NonEmpty
from runner.io_types.limits import Limit
from runner.sinks.destination import Destination
from runner.tabular.database import Transactions
from runner.tabular.tables import find_column_limits, find_overwritten_key, open_upsert


@contextmanager
def write_sql(
    destination: Destination, columns: Mapping[str, Any], *, table: NonEmpty, key: NonEmpty = "key"
) -> Iterator[Callable[[Sequence[Any]], None]]:
    """Write a table of a database, in one transaction.

    Yield a function that writes one row of values, which must already have the types in `columns`. It
    raises ValueError for a row without a key, and for a duplicate key, because one of the rows would be lost. The
    end of the context raises it too, if the table treats two keys as equal.

    Settings:
        path: SQLite file, relative to the project root.
        table: Table, or `schema.table` outside the default schema. It is created if it does not exist. All rows
            are written in one transaction, which waits at most 10 minutes for locks of others.
        key: Column that identifies a row and becomes the primary key. A row replaces an existing row with the same
            key.
    """
    if destination.path is not None:
        destination.path.parent.mkdir(parents=True, exist_ok=True)
    at = list(columns).index(key)
    # An empty name is a temporary database on disk, which is deleted with the connection.
    with Transactions() as own, closing(sqlite3.connect("", isolation_level=None)) as seen:
        target = (destination.transactions or own, destination.database_url, table, columns, key)
        seen.executescript(
            "PRAGMA synchronous = OFF; CREATE TABLE key (key TEXT PRIMARY KEY) WITHOUT ROWID; BEGIN"
        )

        def write_once(values: Sequence[Any]) -> None:
            if values[at] is None:
                raise ValueError(f"{key} is null, but must identify the row in the table")
            if not seen.execute("INSERT OR IGNORE INTO key VALUES (?)", (str(values[at]),)).rowcount:
                raise ValueError(f"{key} {values[at]!r} is already used by an earlier row")
            write(values)

        with open_upsert(*target) as write:
            yield write_once
        keys = (found for (found,) in seen.execute("SELECT key FROM key ORDER BY key"))
        if (lost := find_overwritten_key(*target, keys)) is not None:
            raise ValueError(
                f"{table} stores {key} {lost!r} under another row's key: check the type or collation of its column"
            )


def find_limits(
    destination: Destination, columns: Mapping[str, Any], *, table: str, key: str = "key"
) -> Mapping[str, Limit]:
    """Return how much text the columns of an open table can hold. Raises DatabaseError."""
    with Transactions() as own:
        return find_column_limits(destination.transactions or own, destination.database_url, table, columns, key)
