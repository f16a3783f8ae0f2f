"""The connection to the database of a state: what all statements need of one, and that to SQLite.

Statements are written once, in what SQLite and PostgreSQL have in common; a `?` stands for a value.
"""

import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

Values = Sequence[Any] | Mapping[str, Any]


class Cursor(Protocol):
    """The rows that a statement returned, or the number of those that it changed."""

    @property
    def rowcount(self) -> int:
        """The number of rows that were changed."""

    def fetchone(self) -> Any:
        """Return the next row, or None."""

    def fetchall(self) -> list[Any]:
        """Return all rows that are left."""

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """A connection to the database of a state.

    `project` is the name of the project in a database that several share; None in one of its own.
    """

    @property
    def project(self) -> str | None:
        """The name of the project, if the database has others too."""

    def execute(self, statement: str, values: Values = ()) -> Cursor:
        """Execute a statement, which is a transaction by itself outside of one."""

    def executemany(self, statement: str, many: Iterable[Values]) -> Cursor:
        """Execute a statement with each of many values."""

    def transaction(self, *, is_short: bool = False) -> AbstractContextManager[None]:
        """Commit all writes inside the block together at its end, or none of them.

        With `is_short` nothing but statements is in the block, and a process that is suspended there keeps its
        locks for seconds only, as far as others can wait for them.
        """

    def read_time(self) -> float:
        """Return the time in Unix seconds, by a clock that all who use the database share."""


def scope_of(connection: Connection) -> dict[str, str]:
    """Return the column that tells the rows of a project from those of others, with its value, if there is one."""
    return {} if connection.project is None else {"project": connection.project}


class SqliteConnection:
    """A connection to a SQLite database."""

    project = None

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def execute(self, statement: str, values: Values = ()) -> sqlite3.Cursor:
        """Execute a statement."""
        return self._db.execute(statement, values)

    def executemany(self, statement: str, many: Iterable[Values]) -> sqlite3.Cursor:
        """Execute a statement with each of many values."""
        return self._db.executemany(statement, many)

    @contextmanager
    def transaction(self, *, is_short: bool = False) -> Iterator[None]:  # noqa: ARG002 - nobody waits for a lock
        """Commit all writes inside the block together at its end, or none of them."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def read_time(self) -> float:
        """Return the time in Unix seconds: the database is on one machine."""
        return time.time()
