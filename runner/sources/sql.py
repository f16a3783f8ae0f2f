"""Rows of a query on a SQLite database, which is opened read-only."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import quote

from runner.errors import InputError, Problem
from runner.sources.inputs import Inputs
from runner.sources.text import fail

_INFINITE = (float("inf"), float("-inf"))


def read_sql(inputs: Inputs, *, path: str, query: str) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """One row per row of the result, in its order, which `line` counts; numbers and NULL stay what they are."""
    for name, place in inputs.places(path):
        try:
            with closing(sqlite3.connect(f"file:{quote(str(place))}?mode=ro", uri=True)) as database:
                yield from _rows(name, database.execute(query))
        except (sqlite3.Error, sqlite3.Warning, UnicodeDecodeError) as error:
            raise InputError([Problem(name, f"the query fails: {error}")]) from error


def _rows(name: str, cursor: sqlite3.Cursor) -> Iterator[tuple[str, int, dict[str, Any]]]:
    if cursor.description is None:
        fail(name, "source.query gives no rows: it has to be a SELECT")
    columns = [column[0] for column in cursor.description]
    if twice := next((column for column in columns if columns.count(column) > 1), None):
        fail(name, f"two columns of the result are called {twice!r}: name one with AS")
    for number, values in enumerate(cursor, 1):
        if binary := next((c for c, value in zip(columns, values, strict=True) if isinstance(value, bytes)), None):
            fail(name, f"{binary} is binary, which is not text: leave it out, or use hex()", number)
        if odd := next((c for c, v in zip(columns, values, strict=True) if v in _INFINITE), None):
            fail(name, f"{odd} is infinite, which JSON cannot say", number)
        yield name, number, dict(zip(columns, values, strict=True))
