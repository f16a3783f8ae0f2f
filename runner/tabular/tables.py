"""Tables for output rows: created from JSON schemas, checked before anything is sent, and upserted to."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from runner.io_types.limits import Limit
from runner.tabular.column_types import column_kind, decimal_precision
from runner.tabular.database import ROWS_PER_BATCH, DatabaseError, Transactions, map_errors, open_connection
from runner.tabular.table_limits import read_column_limits
from runner.tabular.write_rows import write_rows

if TYPE_CHECKING:
    import sqlalchemy as sa


_CHECK_SECONDS = 30


_MYSQLS = ("mysql", "mariadb")


# A double represents any decimal number with up to this many digits; SQLite has nothing better.
_DOUBLE_DIGITS = 15


@cache
def _decimal_text_type() -> "sa.types.TypeEngine[Any]":
    """Return the type of decimals that are stored as text."""
    import sqlalchemy as sa

    class WrittenOut(sa.TypeDecorator[Any]):
        impl, cache_ok = sa.Text, True

        def process_bind_param(self, value: Any, dialect: Any) -> Any:  # noqa: ARG002
            return None if value is None else format(value, "f")

    return WrittenOut()


def _column_type(schema: Mapping[str, Any], *, is_key: bool = False) -> "sa.types.TypeEngine[Any]":
    """Return the SQL type of a column with this JSON schema."""
    import sqlalchemy as sa
    from sqlalchemy.dialects import mysql

    kind = column_kind(schema)
    if kind == "decimal":
        precision, scale = decimal_precision(schema) or (38, 0)
        exact: sa.types.TypeEngine[Any] = sa.Numeric(precision, scale)
        return exact if precision <= _DOUBLE_DIGITS else exact.with_variant(_decimal_text_type(), "sqlite")
    # The longest key that MySQL can index. Its collation is binary, because keys that differ in case are distinct.
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


def _build_table(name: str, columns: Mapping[str, Any], key: str) -> "sa.Table":
    import sqlalchemy as sa

    schema, _, own = name.rpartition(".")
    made = [
        sa.Column(column, _column_type(one, is_key=column == key), primary_key=column == key, autoincrement=False)
        for column, one in columns.items()
    ]
    return sa.Table(own, sa.MetaData(), *made, schema=schema or None)


def _upsert_statement(table: "sa.Table", dialect: str, key: str, *, query: Any = None) -> Any:
    """Return the statement that inserts a row or replaces the one with its key.

    The rows come from the query `query`, if given. Raises DatabaseError.
    """
    from sqlalchemy.dialects import mysql, postgresql, sqlite

    if dialect not in ("postgresql", "sqlite", "mysql", "mariadb"):
        raise DatabaseError(
            f"replacing rows is not supported for {dialect}: use PostgreSQL, SQLite, MySQL or MariaDB"
        )
    inserts: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
    statement = inserts.get(dialect, mysql.insert)(table)
    if query is not None:
        statement = statement.from_select([column.name for column in table.columns], query)
    if dialect in _MYSQLS:
        return statement.on_duplicate_key_update({c.name: statement.inserted[c.name] for c in table.columns})
    others = {column.name: statement.excluded[column.name] for column in table.columns if column.name != key}
    if not others:
        return statement.on_conflict_do_nothing(index_elements=[key])
    return statement.on_conflict_do_update(index_elements=[key], set_=others)


@contextmanager
def open_upsert(
    transactions: Transactions, url: str, table: str, columns: Mapping[str, Any], key: str
) -> Iterator[Callable[[Sequence[Any]], None]]:
    """Yield a function that takes the values of one row; write the rows in their database's transaction.

    `columns` maps names to JSON schemas, and the values have their types. The table is created if it does not
    exist. A row replaces an existing row with the same key. Raises DatabaseError, and ColumnError for a row that
    the table refuses.
    """
    made, waiting = _build_table(table, columns, key), list[dict[str, Any]]()
    connection = transactions.connection(url)
    with map_errors(url):
        made.create(connection, checkfirst=True)
        statement = _upsert_statement(made, connection.dialect.name, key)

    def flush() -> None:
        with map_errors(url):
            write_rows(connection, statement, waiting, key)
        waiting.clear()

    def write(values: Sequence[Any]) -> None:
        waiting.append(dict(zip(columns, values, strict=True)))
        if len(waiting) == ROWS_PER_BATCH:
            flush()

    yield write
    if waiting:
        flush()


def find_column_limits(
    transactions: Transactions, url: str, table: str, columns: Mapping[str, Any], key: str
) -> dict[str, Limit]:
    """Return how much text the columns of a table can hold, by name. Raises DatabaseError."""
    with map_errors(url):
        return read_column_limits(transactions.connection(url), _build_table(table, columns, key))


def find_overwritten_key(
    transactions: Transactions, url: str, table: str, columns: Mapping[str, Any], key: str, keys: Iterable[str]
) -> str | None:
    """Return the first written key that has no row of its own in the table, or None. Raises DatabaseError.

    The key column of an existing table may treat distinct keys as equal, by its collation or as numbers.
    """
    import sqlalchemy as sa

    made = _build_table(table, columns, key)
    column, connection, rest = made.columns[key], transactions.connection(url), iter(keys)
    if not isinstance(column.type, sa.Text):
        return None
    # On disk: keys that share a row can be far apart.
    with closing(sqlite3.connect("", isolation_level=None)) as own:
        own.executescript("PRAGMA synchronous = OFF; CREATE TABLE row (key PRIMARY KEY) WITHOUT ROWID; BEGIN")
        while chunk := list(islice(rest, ROWS_PER_BATCH)):
            with map_errors(url):
                values = connection.execute(sa.select(column).where(column.in_(chunk))).scalars().all()
            new = sum(own.execute("INSERT OR IGNORE INTO row VALUES (?)", (repr(v),)).rowcount for v in values)
            if new != len(chunk):
                there = {str(value).rstrip() for value in values}
                return next((one for one in chunk if one.rstrip() not in there), chunk[0])
    return None


class Mismatch(NamedTuple):
    """The reason why a table cannot store rows, and its remedy."""

    reason: str
    remedy: str


def find_schema_mismatch(
    url: str, table: str, columns: Mapping[str, Any], key: str, *, is_typed: bool
) -> Mismatch | None:
    """Return why rows with these columns cannot be written to a table, or None. Raises DatabaseError.

    Nothing is written. If `is_typed`, the types of the columns are checked too.
    """
    import sqlalchemy as sa

    made = _build_table(table, columns, key)
    with open_connection(url, lock_timeout=_CHECK_SECONDS) as connection, map_errors(url):
        look = sa.inspect(connection)
        dialect = connection.dialect.name
        if look.has_table(made.name, made.schema):
            if (wrong := _find_mismatch(look, made, columns, key)) is not None:
                return wrong
        elif dialect not in ("postgresql", "sqlite"):
            # Here a created table would stay despite the rollback.
            _upsert_statement(made, dialect, key)
            _prepare_creation(connection, made)
            return None
        else:
            if dialect == "sqlite":
                # Its driver begins no transaction before it creates a table.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            made.create(connection)
        if is_typed:
            # Inserts no row, but fails if the table, a type or the permission to write is missing.
            nulls = [sa.null() if dialect in _MYSQLS else sa.cast(sa.null(), one.type) for one in made.columns]
            connection.execute(_upsert_statement(made, dialect, key, query=sa.select(*nulls).where(sa.false())))
        connection.rollback()
    return None


def _prepare_creation(connection: "sa.Connection", table: "sa.Table") -> None:
    """Let MySQL or MariaDB check that a table may be created, without creating it."""
    import sqlalchemy as sa

    statement = str(sa.schema.CreateTable(table).compile(dialect=connection.dialect))
    connection.execute(sa.text("SET @runner_check = :statement"), {"statement": statement})
    connection.exec_driver_sql("PREPARE runner_check FROM @runner_check")
    connection.exec_driver_sql("DEALLOCATE PREPARE runner_check")


def _find_mismatch(inspector: Any, expected: "sa.Table", columns: Mapping[str, Any], key: str) -> Mismatch | None:
    """Return why an existing table cannot store rows with these columns, or None."""
    dialect = inspector.dialect.name
    # In other databases, names are not case-sensitive.
    fold = str if dialect == "postgresql" else str.casefold
    there = {fold(column["name"]) for column in inspector.get_columns(expected.name, expected.schema)}
    if absent := [name for name in columns if fold(name) not in there]:
        reason = f"the table {expected.fullname} has no column {', '.join(absent)}"
        return Mismatch(reason, _describe_additions(expected, absent, inspector.dialect))
    unique: list[Any] = [inspector.get_pk_constraint(expected.name, expected.schema)["constrained_columns"]]
    unique += [one["column_names"] for one in inspector.get_unique_constraints(expected.name, expected.schema)]
    unique += [
        one["column_names"] for one in inspector.get_indexes(expected.name, expected.schema) if one["unique"]
    ]
    unique = [[fold(name) for name in names if name is not None] for names in unique]
    if dialect in _MYSQLS:
        own = {fold(name) for name in columns}
        if others := [names for names in unique if fold(key) not in names and own & set(names)]:
            wanted = f"a unique index on {', '.join(others[0])}, by which {dialect} would also replace other rows"
            return Mismatch(f"the table {expected.fullname} has {wanted}", "name another table")
    if [fold(key)] not in unique:
        wanted = f"neither a primary key nor a unique index on {key}, which identifies its rows"
        return Mismatch(f"the table {expected.fullname} has {wanted}", "add one, or name another table")
    return None


def _describe_additions(table: "sa.Table", absent: Iterable[str], dialect: Any) -> str:
    """Return the statements that add columns to a table."""
    import sqlalchemy as sa

    named = dialect.identifier_preparer.format_table(table)
    columns = [sa.schema.CreateColumn(table.columns[name]).compile(dialect=dialect) for name in absent]
    added = "; ".join(f"ALTER TABLE {named} ADD COLUMN {column}" for column in columns)
    return f"add it (`{added}`), or name another table"
