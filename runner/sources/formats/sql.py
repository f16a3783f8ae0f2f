"""SQL source: the rows of a query on a SQLite file, opened read-only, or on a database given by URL."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any
from urllib.parse import quote

from runner.errors import InputError, Problem
from runner.io_types.annotations import DatabaseUrl, NonEmpty
from runner.sources.formats.text import raise_input_error
from runner.sources.input_files import Inputs
from runner.sources.json_values import check_column_names, row_to_json
from runner.spec.redact import redact_passwords
from runner.tabular.database import DatabaseError, open_query


def read_sql(
    inputs: Inputs, *, query: NonEmpty, path: NonEmpty | None = None, url: DatabaseUrl | None = None
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Read the result of a query on a database: one row per row, in its order.

    `line` is the row's number. Dates, decimals and binary become text. Raises InputError if the query fails.

    Settings:
        query: SELECT statement. Add an ORDER BY, because the rows are read and delivered in its order.
        path: SQLite file, relative to the project root. It is opened read-only.
        url: URL of any other database, in the format of SQLAlchemy. The password is not stored.
    """
    if url is not None:
        inputs.current_path = name = redact_passwords(url)
        try:
            with open_query(url, query) as (columns, rows):
                yield from _convert_rows(name, columns, rows, inputs.columns)
        except DatabaseError as error:
            reason = str(error).removeprefix(f"{name}: ")
            raise InputError([Problem(name, f"the query fails: {reason}")]) from error
        return
    for name, place in inputs.local_paths(path or ""):
        try:
            with closing(sqlite3.connect(f"file:{quote(str(place))}?mode=ro", uri=True)) as connection:
                cursor = connection.execute(query)
                if cursor.description is None:
                    raise_input_error(name, "source.query returns no rows: it must be a SELECT")
                names = [column[0] for column in cursor.description]
                yield from _convert_rows(name, names, cursor, inputs.columns)
        except (sqlite3.Error, sqlite3.Warning, UnicodeDecodeError) as error:
            raise InputError([Problem(name, f"the query fails: {error}")]) from error


def _convert_rows(
    name: str, columns: list[str], rows: Iterator[Sequence[Any]], wanted: Sequence[str]
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    try:
        check_column_names(columns, "the result")
    except ValueError as error:
        raise_input_error(name, f"{error}: name it with AS")
    # A name that is not there is reported with the nearest one of all columns.
    is_chosen = wanted and set(wanted) <= set(columns)
    taken = [at for at, column in enumerate(columns) if not is_chosen or column in wanted]
    chosen = [columns[at] for at in taken]
    for number, values in enumerate(rows, 1):
        try:
            fields = row_to_json(chosen, [values[at] for at in taken])
        except ValueError as error:
            raise_input_error(name, str(error), number)
        yield name, number, fields
