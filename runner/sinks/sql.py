"""A table of a database, written in one transaction; a row takes the place of an older one with its key."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

from runner import database
from runner.database import Transactions
from runner.sinks.place import Place


@contextmanager
def write_sql(
    place: Place, columns: Mapping[str, Any], *, table: str, key: str = "key"
) -> Iterator[Callable[[Sequence[Any]], None]]:
    """Yield a function that writes one row of values, already of the types that `columns` say.

    It raises ValueError for a row without a key, or with that of an earlier one: one of the two would be lost.
    So does the end, if the table takes two keys for one.
    """
    if place.path is not None:
        place.path.parent.mkdir(parents=True, exist_ok=True)
    at = list(columns).index(key)
    # On disk, and gone with the connection.
    with Transactions() as own, closing(sqlite3.connect("", isolation_level=None)) as seen:
        target = (place.transactions or own, place.database, table, columns, key)
        seen.executescript(
            "PRAGMA synchronous = OFF; CREATE TABLE key (key TEXT PRIMARY KEY) WITHOUT ROWID; BEGIN"
        )

        def write_once(values: Sequence[Any]) -> None:
            if values[at] is None:
                raise ValueError(f"{key} is null, and tells the rows of the table apart")
            if not seen.execute("INSERT OR IGNORE INTO key VALUES (?)", (str(values[at]),)).rowcount:
                raise ValueError(f"{key} {values[at]!r} is that of an earlier row already")
            write(values)

        with database.upserting(*target) as write:
            yield write_once
        keys = (found for (found,) in seen.execute("SELECT key FROM key ORDER BY key"))
        if (lost := database.replaced(*target, keys)) is not None:
            raise ValueError(
                f"{table} takes {key} {lost!r} for another row's, by the type or collation of its column"
            )
