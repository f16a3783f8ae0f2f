"""Database connections by URL: errors, lock timeouts, transactions, and queries with streamed rows."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from runner.spec.redact import redact_passwords
from runner.tabular.postgres_values import keep_unreadable_values

if TYPE_CHECKING:
    import sqlalchemy as sa


ROWS_PER_BATCH = 1_000
"""Number of rows that are read or written at a time."""


_WAIT_SECONDS = 600


# MySQL truncates values that are too long for a column, unless it is in strict mode.
_MYSQL_SESSION = (
    "SET SESSION lock_wait_timeout = LEAST(@@lock_wait_timeout, {0}),"
    " sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')"
)


_SESSION_SETUP = {
    "postgresql": "SELECT set_config('lock_timeout', '{0}s', true) WHERE current_setting('lock_timeout') = '0'",
    "mysql": _MYSQL_SESSION,
    "mariadb": _MYSQL_SESSION,
    "sqlite": "PRAGMA busy_timeout = {0}000",
}


_DRIVERS = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}


class DatabaseError(ValueError):
    """An error of a database or its driver, without passwords."""


@contextmanager
def map_errors(url: str) -> Iterator[None]:
    """Convert the exceptions of SQLAlchemy and of drivers to DatabaseError."""
    import sqlalchemy as sa

    try:
        yield
    except sa.exc.DBAPIError as error:
        raise DatabaseError(f"{redact_passwords(url)}: {' '.join(str(error.orig).split())}") from error
    # Drivers raise the last two for values that they or Python cannot represent.
    except (sa.exc.SQLAlchemyError, ImportError, NotImplementedError, OverflowError) as error:
        text = redact_passwords((str(error) or type(error).__name__).splitlines()[0])
        raise DatabaseError(f"{redact_passwords(url)}: {text}") from error


@contextmanager
def open_connection(url: str, *, lock_timeout: int = _WAIT_SECONDS) -> Iterator["sa.Connection"]:
    """Yield a connection with one transaction, which is committed at the end.

    It waits at most `lock_timeout` for locks of other connections. Raises DatabaseError.
    """
    # psycopg logs warnings to standard error about failures that are raised here anyway.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    with map_errors(url):
        engine = _create_engine(url)
        try:
            with ExitStack() as stack:
                try:
                    connection = stack.enter_context(engine.begin())
                except TypeError as error:
                    # A driver raises it for an option that it does not have.
                    raise DatabaseError(f"{redact_passwords(url)}: {error}") from error
                _set_lock_timeout(connection, lock_timeout)
                yield connection
        finally:
            engine.dispose()


def _create_engine(url: str) -> "sa.Engine":
    """Return the engine of a database that keeps no connection open. Raises DatabaseError for an invalid URL."""
    import sqlalchemy as sa

    scheme, separator, rest = url.partition("://")
    if not separator:
        # The whole text could be a password.
        raise DatabaseError(f"{url.partition(':')[0]}: not a valid database URL")
    if rest.partition("?")[0].count("@") > 1:
        # Part of the password would be parsed as the host, and shown.
        raise DatabaseError(f"{redact_passwords(url)}: write an @ in the user or password as %40")
    try:
        return sa.create_engine(f"{_DRIVERS.get(scheme, scheme)}://{rest}", poolclass=sa.pool.NullPool)
    except ValueError as error:
        # Its message may contain the password.
        raise DatabaseError(f"{redact_passwords(url)}: not a valid database URL") from error


def _set_lock_timeout(connection: "sa.Connection", lock_timeout: int) -> None:
    """Set the lock timeout of a session, and strict mode on MySQL.

    Some databases wait forever by default, and SQLite's driver five seconds. A timeout in the URL is kept.
    """
    name = connection.dialect.name
    if name == "sqlite" and connection.exec_driver_sql("PRAGMA busy_timeout").scalar() != 5_000:
        return
    if name in _SESSION_SETUP:
        connection.exec_driver_sql(_SESSION_SETUP[name].format(lock_timeout))


def _sqlite_path(url: str) -> Path | None:
    """Return the file of a SQLite URL, or None for other URLs and in-memory databases. Raises DatabaseError."""
    import sqlalchemy as sa

    if not url.startswith("sqlite"):
        return None
    with map_errors(url):
        try:
            path = sa.make_url(url).database
        except ValueError as error:
            raise DatabaseError(f"{redact_passwords(url)}: not a valid database URL") from error
    return Path(path) if path and path != ":memory:" and not path.startswith("file:") else None


@contextmanager
def open_query(url: str, text: str) -> Iterator[tuple[list[str], Iterator[Sequence[Any]]]]:
    """Yield the columns and rows of a query; the server sends 1,000 rows at a time. Raises DatabaseError."""
    path = _sqlite_path(url)
    if path is not None and not path.exists():
        # Connecting would create it.
        raise DatabaseError(f"{redact_passwords(url)}: no such file")
    with open_connection(url) as connection, map_errors(url):
        # Run as written: a colon or a percent sign in it is not a parameter.
        how = {"stream_results": True, "max_row_buffer": ROWS_PER_BATCH, "no_parameters": True}
        raw: Any = connection.connection.dbapi_connection
        if connection.dialect.driver == "psycopg":
            keep_unreadable_values(raw)
        cursor = connection.execution_options(**how).exec_driver_sql(text)
        if not cursor.returns_rows:
            raise DatabaseError("source.query returns no rows: it must be a SELECT")
        try:
            yield list(cursor.keys()), iter(cursor)
        finally:
            _discard_result(connection, raw)
            cursor.close()
        # The transaction only read.
        connection.rollback()


def _discard_result(connection: "sa.Connection", raw: Any) -> None:
    """Discard a result that was not read to its end: PyMySQL would first read all of it."""
    left = getattr(raw, "_result", None)
    if left is not None and getattr(left, "unbuffered_active", False):
        left.unbuffered_active = False
        connection.invalidate()


def identify_database(url: str) -> str:
    """Return what is equal for all URLs of one SQLite file, however they are written; else the URL."""
    file = _sqlite_path(url)
    return url if file is None else str(file.resolve())


class Transactions:
    """One transaction per database across all its tables: it is committed at the end, or rolled back."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._connections: dict[str, sa.Connection] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: Any) -> bool | None:  # noqa: PYI036 - passed on as they are
        return self._stack.__exit__(*exception)

    def connection(self, url: str) -> "sa.Connection":
        """Return the connection to a database, and open it if necessary. Raises DatabaseError."""
        # One connection per file: a second one would wait for the first.
        name = identify_database(url)
        if name not in self._connections:
            self._connections[name] = self._stack.enter_context(open_connection(url))
        return self._connections[name]
