"""Write rows to a table, and name the row and the column if the database refuses them."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from runner.io_types.limits import ColumnError
from runner.text import shorten_value

if TYPE_CHECKING:
    import sqlalchemy as sa


_REMEDY = "change the type of the column in the table, or the expression of the column; only text can be cut"


# Codes of MySQL and MariaDB that their driver takes for a failing server: a date, JSON, or a CHECK.
_VALUE_CODES = (1292, 3140, 3819, 4025)


def write_rows(connection: "sa.Connection", statement: Any, rows: Sequence[Mapping[str, Any]], key: str) -> None:
    """Execute a statement for all rows.

    Raises ColumnError, which names the column as far as it can be told, for a row that the database refuses, and
    otherwise the errors of SQLAlchemy.
    """
    error = _try_rows(connection, statement, rows)
    if error is None:
        return
    for index, row in enumerate(rows):
        if (own := _try_rows(connection, statement, [row])) is not None:
            name = _find_column(connection, statement, row, key)
            value = f": {shorten_value(row[name])}" if name else ""
            message = f"{_first_line(own)}{value}; {_REMEDY}"
            raise ColumnError(name, message, back=len(rows) - 1 - index) from own
    raise error


def _try_rows(connection: "sa.Connection", statement: Any, rows: Sequence[Mapping[str, Any]]) -> Exception | None:
    """Execute a statement, and return the error if it is one of values. All other errors are raised."""
    import sqlalchemy as sa

    try:
        with _savepoint(connection):
            connection.execute(statement, rows)
    except (sa.exc.StatementError, OverflowError) as error:
        code = next(iter(getattr(getattr(error, "orig", None), "args", ())), None)
        is_other = isinstance(error, sa.exc.DBAPIError) and not isinstance(
            error, sa.exc.DataError | sa.exc.IntegrityError
        )
        if is_other and code not in _VALUE_CODES:
            raise
        return error
    return None


def _savepoint(connection: "sa.Connection") -> AbstractContextManager[Any]:
    """Return a context after whose failure the transaction can go on."""
    # SQLite's driver would commit at the end of it, and the others need none.
    return connection.begin_nested() if connection.dialect.name == "postgresql" else nullcontext()


def _find_column(connection: "sa.Connection", statement: Any, row: Mapping[str, Any], key: str) -> str:
    """Return the first column that the database does not refuse with nulls in its place and in those after it.

    It is empty if the key is refused, or something else than one value, or if the columns cannot be null.
    """
    tried = {name: value if name == key else None for name, value in row.items()}
    if _try_rows(connection, statement, [tried]) is not None:
        return ""
    for name in row:
        tried[name] = row[name]
        if _try_rows(connection, statement, [tried]) is not None:
            return name
    return ""


def _first_line(error: Exception) -> str:
    if isinstance(error, OverflowError):
        return "the number has more than 64 bits"
    orig = getattr(error, "orig", None) or error
    # PyMySQL's errors are a number and a text.
    text = str(orig.args[1] if len(orig.args) == 2 else orig)
    return text.splitlines()[0]
