"""Databases by URL, through SQLAlchemy: the only place that knows it."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.columns import digits, kind_of
from runner.spec import without_password

if TYPE_CHECKING:
    import sqlalchemy as sa

_ROWS = 1_000
_CHECK_SECONDS, _WAIT_SECONDS = 30, 600
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
_MYSQLS = ("mysql", "mariadb")
# A double holds any decimal number of as many digits; SQLite has nothing better.
_DOUBLE_DIGITS = 15
_DRIVERS = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}


class Failed(ValueError):
    """What a database says is wrong."""


@contextmanager
def _translated(url: str) -> Iterator[None]:
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
def _connected(url: str, *, seconds: int = _WAIT_SECONDS) -> Iterator["sa.Connection"]:
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
    with _translated(url):
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


@contextmanager
def query(url: str, text: str) -> Iterator[tuple[list[str], Iterator[Sequence[Any]]]]:
    """Yield the columns of a query and its rows, of which the server sends a thousand at a time. Raises Failed."""
    import sqlalchemy as sa

    if url.startswith("sqlite"):
        with _translated(url):
            path = sa.make_url(url).database
        if path and path != ":memory:" and not path.startswith("file:") and not Path(path).exists():
            # Connecting would make it.
            raise Failed(f"{without_password(url)}: no such file")
    with _connected(url) as connection, _translated(url):
        # As written: a colon or a percent sign in it is no parameter.
        how = {"stream_results": True, "max_row_buffer": _ROWS, "no_parameters": True}
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


@cache
def _written_out() -> "sa.types.TypeEngine[Any]":
    """The type of decimals that are text."""
    import sqlalchemy as sa

    class WrittenOut(sa.TypeDecorator[Any]):
        impl, cache_ok = sa.Text, True

        def process_bind_param(self, value: Any, dialect: Any) -> Any:  # noqa: ARG002
            return None if value is None else format(value, "f")

    return WrittenOut()


def _type(schema: Mapping[str, Any], *, is_key: bool = False) -> "sa.types.TypeEngine[Any]":
    """The type of a column with this JSON schema."""
    import sqlalchemy as sa
    from sqlalchemy.dialects import mysql

    kind = kind_of(schema)
    if kind == "decimal":
        precision, scale = digits(schema) or (38, 0)
        exact: sa.types.TypeEngine[Any] = sa.Numeric(precision, scale)
        return exact if precision <= _DOUBLE_DIGITS else exact.with_variant(_written_out(), "sqlite")
    # The longest that an index of MySQL takes; by its bytes, since keys that differ in case are two.
    text = mysql.VARCHAR(768, charset="utf8mb4", collation="utf8mb4_bin") if is_key else mysql.LONGTEXT()
    plain: dict[str, sa.types.TypeEngine[Any]] = {
        "integer": sa.BigInteger(),
        "number": sa.Double(),
        "boolean": sa.Boolean(),
        "date": sa.Date(),
        "timestamp": sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), *_MYSQLS),
        "local": sa.DateTime().with_variant(mysql.DATETIME(fsp=6), *_MYSQLS),
        "time": sa.Time().with_variant(mysql.TIME(fsp=6), *_MYSQLS),
        "binary": sa.LargeBinary().with_variant(mysql.LONGBLOB(), *_MYSQLS),
        "array": sa.JSON(none_as_null=True),
        "object": sa.JSON(none_as_null=True),
    }
    return plain.get(kind, sa.Text().with_variant(text, *_MYSQLS))


def _table(name: str, columns: Mapping[str, Any], key: str) -> "sa.Table":
    import sqlalchemy as sa

    schema, _, own = name.rpartition(".")
    made = [
        sa.Column(column, _type(one, is_key=column == key), primary_key=column == key, autoincrement=False)
        for column, one in columns.items()
    ]
    return sa.Table(own, sa.MetaData(), *made, schema=schema or None)


def _upsert(table: "sa.Table", dialect: str, key: str, *, of: Any = None) -> Any:
    """The statement that puts a row in the place of the one with its key; the rows may be those `of` a query.

    Raises Failed.
    """
    from sqlalchemy.dialects import mysql, postgresql, sqlite

    if dialect not in ("postgresql", "sqlite", "mysql", "mariadb"):
        raise Failed(f"how {dialect} replaces a row is not known: use PostgreSQL, SQLite, MySQL or MariaDB")
    inserts: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
    statement = inserts.get(dialect, mysql.insert)(table)
    if of is not None:
        statement = statement.from_select([column.name for column in table.columns], of)
    if dialect in _MYSQLS:
        return statement.on_duplicate_key_update({c.name: statement.inserted[c.name] for c in table.columns})
    others = {column.name: statement.excluded[column.name] for column in table.columns if column.name != key}
    if not others:
        return statement.on_conflict_do_nothing(index_elements=[key])
    return statement.on_conflict_do_update(index_elements=[key], set_=others)


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
        if url not in self._connections:
            self._connections[url] = self._stack.enter_context(_connected(url))
        return self._connections[url]


@contextmanager
def upserting(
    transactions: Transactions, url: str, table: str, columns: Mapping[str, Any], key: str
) -> Iterator[Callable[[Sequence[Any]], None]]:
    """Yield a function that takes the values of one row, and write them in the transaction of their database.

    `columns` are JSON schemas by name, and the values of the types that they say; the table is made if it is not
    there. A row with the key of another takes its place. Raises Failed.
    """
    made, waiting = _table(table, columns, key), list[dict[str, Any]]()
    connection = transactions.connection(url)
    with _translated(url):
        made.create(connection, checkfirst=True)
        statement = _upsert(made, connection.dialect.name, key)

    def flush() -> None:
        with _translated(url):
            connection.execute(statement, waiting)
        waiting.clear()

    def write(values: Sequence[Any]) -> None:
        waiting.append(dict(zip(columns, values, strict=True)))
        if len(waiting) == _ROWS:
            flush()

    yield write
    if waiting:
        flush()


def replaced(
    transactions: Transactions, url: str, table: str, columns: Mapping[str, Any], key: str, keys: Iterable[str]
) -> str | None:
    """The first of the keys that were written to a table that has no row of its own there, or None. Raises Failed.

    A table that was there may tell keys apart worse than they are meant: by its collation, or as numbers.
    """
    import sqlalchemy as sa

    made = _table(table, columns, key)
    column, connection, rest = made.columns[key], transactions.connection(url), iter(keys)
    if not isinstance(column.type, sa.Text):
        return None
    while chunk := list(islice(rest, _ROWS)):
        with _translated(url):
            there = list(map(str, connection.execute(sa.select(column).where(column.in_(chunk))).scalars()))
        # A column of a fixed width fills them up with spaces.
        exact, padded = set(there), {one.rstrip() for one in there} if len(there) == len(chunk) else set()
        for one in chunk:
            if one not in exact and one.rstrip() not in padded:
                return one
    return None


def unfit(url: str, table: str, columns: Mapping[str, Any], key: str, *, is_typed: bool) -> str | None:
    """Why rows of these columns cannot be written to a table, or None; nothing is written. Raises Failed.

    If `is_typed`, the types of the columns are tried too.
    """
    import sqlalchemy as sa

    made = _table(table, columns, key)
    with _connected(url, seconds=_CHECK_SECONDS) as connection, _translated(url):
        look = sa.inspect(connection)
        dialect = connection.dialect.name
        if look.has_table(made.name, made.schema):
            if (wrong := _misfit(look, made, columns, key, dialect)) is not None:
                return wrong
        elif dialect != "postgresql":
            # A table that is made there stays, whatever is rolled back.
            _upsert(made, dialect, key)
            return None
        else:
            made.create(connection)
        if is_typed:
            # No row, but the table, its types and the permission to write have to be there.
            nulls = [sa.null() if dialect in _MYSQLS else sa.cast(sa.null(), one.type) for one in made.columns]
            connection.execute(_upsert(made, dialect, key, of=sa.select(*nulls).where(sa.false())))
        connection.rollback()
    return None


def _misfit(look: Any, made: "sa.Table", columns: Mapping[str, Any], key: str, dialect: str) -> str | None:
    """What the description of a table that is there says against rows of these columns."""
    # Elsewhere a name in capitals is the same one.
    fold = str if dialect == "postgresql" else str.casefold
    there = {fold(column["name"]) for column in look.get_columns(made.name, made.schema)}
    if absent := [name for name in columns if fold(name) not in there]:
        return f"the table {made.fullname} has no column {', '.join(absent)}"
    unique: list[Any] = [look.get_pk_constraint(made.name, made.schema)["constrained_columns"]]
    unique += [one["column_names"] for one in look.get_unique_constraints(made.name, made.schema)]
    unique += [one["column_names"] for one in look.get_indexes(made.name, made.schema) if one["unique"]]
    unique = [[fold(name) for name in names if name is not None] for names in unique]
    if dialect in _MYSQLS:
        own = {fold(name) for name in columns}
        if others := [names for names in unique if names != [fold(key)] and own & set(names)]:
            wanted = f"a unique index on {', '.join(others[0])}, by which {dialect} would replace other rows too"
            return f"the table {made.fullname} has {wanted}"
    if [fold(key)] not in unique:
        wanted = f"neither a primary key nor a unique index on {key}, which tells rows apart"
        return f"the table {made.fullname} has {wanted}"
    return None
