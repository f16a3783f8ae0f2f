"""Connections by URL: what they raise, how long they wait, and a query of which the rows stream."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.spec import without_password

if TYPE_CHECKING:
    import sqlalchemy as sa

ROWS = 1_000
"""How many rows are read or written at a time."""
_WAIT_SECONDS = 600
# What is too long for a column is an error of MySQL's only if it is told so.
_MYSQL = (
    "SET SESSION lock_wait_timeout = LEAST(@@lock_wait_timeout, {0}),"
    " sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')"
)
_SESSION = {
    "postgresql": "SELECT set_config('lock_timeout', '{0}s', true) WHERE current_setting('lock_timeout') = '0'",
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
    "sqlite": "PRAGMA busy_timeout = {0}000",
}
_DRIVERS = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}


class Failed(ValueError):
    """What a database says is wrong."""


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Raise Failed for what SQLAlchemy or a driver raises."""
    import sqlalchemy as sa

    try:
        yield
    except sa.exc.DBAPIError as error:
        raise Failed(f"{without_password(url)}: {' '.join(str(error.orig).split())}") from error
    # The last two are a driver's, of values that it or Python cannot hold.
    except (sa.exc.SQLAlchemyError, ImportError, NotImplementedError, OverflowError) as error:
        text = without_password((str(error) or type(error).__name__).splitlines()[0])
        raise Failed(f"{without_password(url)}: {text}") from error


@contextmanager
def connected(url: str, *, seconds: int = _WAIT_SECONDS) -> Iterator["sa.Connection"]:
    """A connection with one transaction, which is committed at the end; it waits so long for the lock of another.

    Raises Failed.
    """
    import sqlalchemy as sa

    scheme, separator, rest = url.partition("://")
    if not separator:
        # All of it could be a password.
        raise Failed(f"{url.partition(':')[0]}: is not the URL of a database")
    if rest.partition("?")[0].count("@") > 1:
        # A part of the password would be taken for the host, and shown.
        raise Failed(f"{without_password(url)}: write %40 for an @ in a user or password")
    # It writes warnings of its own to standard error, of what is an error here anyway.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    with translated(url):
        try:
            engine = sa.create_engine(f"{_DRIVERS.get(scheme, scheme)}://{rest}", poolclass=sa.pool.NullPool)
        except ValueError as error:
            # Its text may hold the password.
            raise Failed(f"{without_password(url)}: is not the URL of a database") from error
        try:
            with ExitStack() as stack:
                try:
                    connection = stack.enter_context(engine.begin())
                except TypeError as error:
                    # What a driver says of an option that it does not have.
                    raise Failed(f"{without_password(url)}: {error}") from error
                _begin(connection, seconds)
                yield connection
        finally:
            engine.dispose()


def _begin(connection: "sa.Connection", seconds: int) -> None:
    """Set a session up, to wait so long for what another holds.

    Some wait for ever by default, and SQLite's driver five seconds. What the URL asks for itself stays.
    """
    name = connection.dialect.name
    if name == "sqlite" and connection.exec_driver_sql("PRAGMA busy_timeout").scalar() != 5_000:
        return
    if name in _SESSION:
        connection.exec_driver_sql(_SESSION[name].format(seconds))


def _file(url: str) -> Path | None:
    """The file that a URL of SQLite names, or None. Raises Failed."""
    import sqlalchemy as sa

    if not url.startswith("sqlite"):
        return None
    with translated(url):
        try:
            path = sa.make_url(url).database
        except ValueError as error:
            raise Failed(f"{without_password(url)}: is not the URL of a database") from error
    return Path(path) if path and path != ":memory:" and not path.startswith("file:") else None


@contextmanager
def query(url: str, text: str) -> Iterator[tuple[list[str], Iterator[Sequence[Any]]]]:
    """Yield the columns of a query and its rows, of which the server sends a thousand at a time. Raises Failed."""
    path = _file(url)
    if path is not None and not path.exists():
        # Connecting would make it.
        raise Failed(f"{without_password(url)}: no such file")
    with connected(url) as connection, translated(url):
        # As written: a colon or a percent sign in it is no parameter.
        how = {"stream_results": True, "max_row_buffer": ROWS, "no_parameters": True}
        cursor = connection.execution_options(**how).exec_driver_sql(text)
        if not cursor.returns_rows:
            raise Failed("source.query gives no rows: it has to be a SELECT")
        raw: Any = connection.connection.dbapi_connection
        try:
            yield list(cursor.keys()), iter(cursor)
        finally:
            _leave(connection, raw)
        # Only read.
        connection.rollback()


def _leave(connection: "sa.Connection", raw: Any) -> None:
    """Let a result go that was not read to its end: PyMySQL would read all of it first."""
    left = getattr(raw, "_result", None)
    if left is not None and getattr(left, "unbuffered_active", False):
        left.unbuffered_active = False
        connection.invalidate()


class Transactions:
    """One transaction for each database, whichever tables are written: all is there at the end, or nothing."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._connections: dict[str, sa.Connection] = {}

    def __enter__(self) -> "Transactions":
        return self

    def __exit__(self, *exception: Any) -> bool | None:
        return self._stack.__exit__(*exception)

    def connection(self, url: str) -> "sa.Connection":
        """The connection to a database. Raises Failed."""
        file = _file(url)
        # However it is written: a second connection would wait for the first.
        name = url if file is None else str(file.resolve())
        if name not in self._connections:
            self._connections[name] = self._stack.enter_context(connected(url))
        return self._connections[name]
