"""The connection to a PostgreSQL database, which machines that come and go share.

A lost connection is opened again for reads and between transactions. A transaction is never repeated: if its
COMMIT got no answer, the server is asked what became of it.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from runner.errors import StateError, UsageError
from runner.files.extras import missing_packages_message
from runner.files.object_store import list_packages
from runner.store.connection import Cursor, Values
from runner.store.place import StatePlace
from runner.store.shared.database_errors import describe_database_error

if TYPE_CHECKING:
    import psycopg

T = TypeVar("T")

SCHEMA_VERSION = 2
_PATIENCE_SECONDS, _PAUSE_SECONDS = 300.0, 1.0
# A process that is suspended in a transaction keeps its locks until the server breaks it off, and who takes over
# waits for them. Before the COMMIT that is the lock on the lease itself. A body is written or uploaded in less.
_PAUSE_IN_TRANSACTION, _PAUSE_BEFORE_COMMIT = 300, 10
_LIMIT_PAUSE = "SELECT set_config('idle_in_transaction_session_timeout', ?, true)"
_DEFAULTS = {
    "application_name": "runner",
    "connect_timeout": "10",
    # A server that is gone without a word is noticed after about a minute.
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}


@cache
def _to_postgres(statement: str) -> str:
    """Return a statement with placeholders as psycopg has them."""
    return re.sub(r"\?([0-9])", r"%(p\1)s", statement).replace("?", "%s")


def _to_values(statement: str, values: Values) -> Any:
    if re.search(r"\?[0-9]", statement):
        return {f"p{number}": value for number, value in enumerate(values, 1)}
    return values or None


@contextmanager
def _map_errors(place: StatePlace) -> Iterator[None]:
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        raise StateError(describe_database_error(place, str(error))) from error


def _connect(url: str) -> "psycopg.Connection[Any]":
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    # A pooler may give each transaction another connection, on which nothing is prepared.
    settings: dict[str, Any] = {**_DEFAULTS, **conninfo_to_dict(url)}
    return psycopg.connect(autocommit=True, prepare_threshold=None, **settings)


def check_packages(place: StatePlace) -> None:
    """Raise UsageError with all packages that are missing for a shared state."""
    needed: dict[str, tuple[str, ...]] = {"sql": ("psycopg",)}
    if place.files is not None:
        needed["objects"] = list_packages(place.files)
    if (missing := missing_packages_message(needed)) is not None:
        raise UsageError(f"the state is shared ({place.database_origin}), and {missing}")


class PostgresConnection:
    """A connection to a PostgreSQL database.

    `confirm`, if there is one, is called right before each COMMIT, inside the transaction.
    """

    def __init__(self, place: StatePlace) -> None:
        check_packages(place)
        self.project = place.project
        self.confirm: Callable[[], None] | None = None
        self._place = place
        self._is_in_transaction = False
        self._patience = _PATIENCE_SECONDS
        with _map_errors(place):
            self._db = _connect(str(place.database))

    def execute(self, statement: str, values: Values = ()) -> Cursor:
        """Execute a statement, which is a transaction by itself outside of one."""
        if self._is_in_transaction:
            return self._execute(statement, values)
        if statement.startswith("SELECT"):
            with _map_errors(self._place):
                return self._patiently(lambda: self._execute_once(statement, values))
        if self.confirm is None:
            # One message to the server: a process that is suspended leaves no lock behind.
            with _map_errors(self._place):
                self._patiently(lambda: self._execute_once("SELECT 1"))
            return self._execute(statement, values)
        with self.transaction():
            return self._execute(statement, values)

    def executemany(self, statement: str, many: Iterable[Values]) -> Cursor:
        """Execute a statement with each of many values."""
        if not self._is_in_transaction:
            with self.transaction():
                return self.executemany(statement, many)
        with _map_errors(self._place):
            cursor = self._db.cursor()
            cursor.executemany(_to_postgres(statement), [_to_values(statement, values) for values in many])
            return cursor

    @contextmanager
    def transaction(self, *, is_short: bool = False) -> Iterator[None]:
        """Commit all writes inside the block together at its end, or none of them.

        With `is_short` nothing but statements is in the block, and the server breaks it off sooner.
        """
        pause = _PAUSE_BEFORE_COMMIT if is_short else _PAUSE_IN_TRANSACTION
        with _map_errors(self._place):
            self._patiently(lambda: self._execute_once("BEGIN"))
            self._execute_once(_LIMIT_PAUSE, (f"{pause}s",))
        self._is_in_transaction = True
        try:
            yield
            [(number,)] = self._execute("SELECT txid_current()")
            if self.confirm is not None:
                self._execute(_LIMIT_PAUSE, (f"{_PAUSE_BEFORE_COMMIT}s",))
                self.confirm()
        except BaseException:
            self._is_in_transaction = False
            self._roll_back()
            raise
        self._is_in_transaction = False
        self._commit(number)

    def read_time(self) -> float:
        """Return the time in Unix seconds, by the clock of the server."""
        [(now,)] = self.execute("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS DOUBLE PRECISION)")
        return float(now)

    def stop_waiting(self) -> None:
        """Do not wait for a lost server from now on, also in another thread."""
        self._patience = 0.0

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def _execute(self, statement: str, values: Values = ()) -> Cursor:
        with _map_errors(self._place):
            return self._execute_once(statement, values)

    def _execute_once(self, statement: str, values: Values = ()) -> Cursor:
        return self._db.execute(_to_postgres(statement).encode(), _to_values(statement, values))

    def _roll_back(self) -> None:
        import psycopg

        # Without a connection, the server has rolled back already.
        with suppress(psycopg.Error):
            self._db.execute("ROLLBACK")

    def _commit(self, number: int) -> None:
        """Commit the transaction of this number. Raises StateError if it is undone, or if that is not known."""
        import psycopg

        try:
            with _map_errors(self._place):
                self._db.execute("COMMIT")
        except StateError as error:
            if not self._db.closed or not isinstance(error.__cause__, psycopg.OperationalError):
                raise
            status = self._find_status(number)
            if status != "committed":
                found = "undone" if status == "aborted" else "perhaps undone"
                raise StateError(f"{error}; what it was to record is {found}: run again") from error

    def _find_status(self, number: int) -> str | None:
        """Return what became of a transaction: committed, aborted, in progress, or None if nobody knows."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while True:
            [(status,)] = self.execute("SELECT txid_status(?)", (number,))
            if status != "in progress" or time.monotonic() > until:
                return None if status is None else str(status)
            time.sleep(_PAUSE_SECONDS)

    def _patiently(self, call: Callable[[], T]) -> T:
        """Return what `call` returns; connect and call it again, for some minutes, if the connection is lost."""
        import psycopg

        began = time.monotonic()
        while True:
            try:
                if self._db.closed:
                    self._db = _connect(str(self._place.database))
                return call()
            except psycopg.OperationalError:
                if not self._db.closed or time.monotonic() - began >= self._patience:
                    raise
            time.sleep(_PAUSE_SECONDS)
