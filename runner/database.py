"""Databases by URL, through SQLAlchemy: the only place that knows it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from runner.columns import digits, kind_of
from runner.spec import without_password

if TYPE_CHECKING:
    import sqlalchemy as sa

_ROWS = 1_000
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
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        raise Failed(f"{without_password(url)}: {str(error).splitlines()[0]}") from error


@contextmanager
def _connected(url: str) -> Iterator["sa.Connection"]:
    """A connection with one transaction, which is committed at the end."""
    import sqlalchemy as sa

    scheme, _, rest = url.partition("://")
    with _translated(url):
        engine = sa.create_engine(f"{_DRIVERS.get(scheme, scheme)}://{rest}", poolclass=sa.pool.NullPool)
        try:
            with engine.begin() as connection:
                yield connection
        finally:
            engine.dispose()


@contextmanager
def query(url: str, text: str) -> Iterator[tuple[list[str], Iterator[Sequence[Any]]]]:
    """Yield the columns of a query and its rows, of which the server sends a thousand at a time. Raises Failed."""
    with _connected(url) as connection, _translated(url):
        # As written: a colon or a percent sign in it is no parameter.
        how = {"stream_results": True, "max_row_buffer": _ROWS, "no_parameters": True}
        cursor = connection.execution_options(**how).exec_driver_sql(text)
        if not cursor.returns_rows:
            raise Failed("source.query gives no rows: it has to be a SELECT")
        yield list(cursor.keys()), iter(cursor)
        # Only read.
        connection.rollback()


def _type(schema: Mapping[str, Any]) -> "sa.types.TypeEngine[Any]":
    """The type of a column with this JSON schema."""
    import sqlalchemy as sa

    kind = kind_of(schema)
    if kind == "decimal":
        return sa.Numeric(*(digits(schema) or (38, 0)))
    plain: dict[str, sa.types.TypeEngine[Any]] = {
        "integer": sa.BigInteger(),
        "number": sa.Double(),
        "boolean": sa.Boolean(),
        "date": sa.Date(),
        "timestamp": sa.DateTime(timezone=True),
        "local": sa.DateTime(),
        "time": sa.Time(),
        "binary": sa.LargeBinary(),
        "array": sa.JSON(none_as_null=True),
        "object": sa.JSON(none_as_null=True),
    }
    return plain.get(kind, sa.Text())


def _table(name: str, columns: Mapping[str, Any], key: str) -> "sa.Table":
    import sqlalchemy as sa

    schema, _, own = name.rpartition(".")
    made = [
        sa.Column(column, _type(one), primary_key=column == key, autoincrement=False)
        for column, one in columns.items()
    ]
    return sa.Table(own, sa.MetaData(), *made, schema=schema or None)


def _upsert(table: "sa.Table", dialect: str, key: str) -> Any:
    """The statement that puts a row in the place of the one with its key. Raises Failed."""
    from sqlalchemy.dialects import mysql, postgresql, sqlite

    if dialect in ("mysql", "mariadb"):
        statement = mysql.insert(table)
        return statement.on_duplicate_key_update({c.name: statement.inserted[c.name] for c in table.columns})
    if dialect not in ("postgresql", "sqlite"):
        raise Failed(f"how {dialect} replaces a row is not known: use PostgreSQL, SQLite, MySQL or MariaDB")
    other = (postgresql.insert if dialect == "postgresql" else sqlite.insert)(table)
    others = {column.name: other.excluded[column.name] for column in table.columns if column.name != key}
    if not others:
        return other.on_conflict_do_nothing(index_elements=[key])
    return other.on_conflict_do_update(index_elements=[key], set_=others)


@contextmanager
def upserting(
    url: str, table: str, columns: Mapping[str, Any], key: str
) -> Iterator[Callable[[Sequence[Any]], None]]:
    """Yield a function that takes the values of one row, and write them in one transaction.

    `columns` are JSON schemas by name, and the values of the types that they say; the table is made if it is not
    there. A row with the key of another takes its place. Raises Failed.
    """
    made, waiting = _table(table, columns, key), list[dict[str, Any]]()
    with _connected(url) as connection, _translated(url):
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


def unfit(url: str, table: str, columns: Mapping[str, Any], key: str) -> str | None:
    """Why rows of these columns cannot be written to a table, or None. Raises Failed."""
    import sqlalchemy as sa

    made = _table(table, columns, key)
    with _connected(url) as connection, _translated(url):
        _upsert(made, connection.dialect.name, key)
        look = sa.inspect(connection)
        if not look.has_table(made.name, made.schema):
            return None
        there = {column["name"] for column in look.get_columns(made.name, made.schema)}
        if absent := [name for name in columns if name not in there]:
            return f"the table {table} has no column {', '.join(absent)}"
        unique: list[Any] = [look.get_pk_constraint(made.name, made.schema)["constrained_columns"]]
        unique += [one["column_names"] for one in look.get_unique_constraints(made.name, made.schema)]
        unique += [one["column_names"] for one in look.get_indexes(made.name, made.schema) if one["unique"]]
        if [key] not in unique:
            return (
                f"the table {table} has neither a primary key nor a unique index on {key}, which tells rows apart"
            )
        return None
