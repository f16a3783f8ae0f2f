"""Rows in: every source type is one function that yields (path, line, fields)."""

import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from runner.errors import InputError, Problem
from runner.sources.choose import chosen
from runner.sources.csv import read_csv
from runner.sources.inputs import InputFile, Inputs, changed, digest
from runner.sources.jsonl import read_jsonl
from runner.sources.run import read_run
from runner.sources.sql import read_sql
from runner.sources.text import read_text
from runner.spec import Source, suggest

__all__ = ["SOURCES", "InputFile", "Inputs", "Row", "changed", "digest", "read"]

SOURCES: dict[str, Callable[..., Iterator[tuple[str, int, dict[str, Any]]]]] = {
    "csv": read_csv,
    "jsonl": read_jsonl,
    "run": read_run,
    "sql": read_sql,
    "text": read_text,
}


class Row(NamedTuple):
    """One input row; a NamedTuple, since one is made per row and a frozen dataclass costs 4 times as much.

    `number` counts from 1 over the whole source, `line` from 1 in the file `path`.
    """

    number: int
    key: str | int
    fields: dict[str, Any]
    path: str
    line: int


def _key(column: str, fields: dict[str, Any], path: str, line: int) -> str | int:
    if column not in fields:
        raise InputError([Problem(path, f"no key column {column!r}: {suggest(column, fields)}", line)])
    key = fields[column]
    if not isinstance(key, str | int) or isinstance(key, bool) or key == "":
        raise InputError([Problem(path, f"the key {column!r} must be text or a whole number, not {key!r}", line)])
    return key


def read(source: Source, inputs: Inputs, *, limit: int | None = None) -> Iterator[Row]:
    """The rows of a source in order, at most `limit`. Raises InputError with file and line.

    That keys are unique is for the store to say, since it takes all of them to know.
    """
    settings = source.options if source.output is None else {**source.options, "path": source.output}
    rows = chosen(source, SOURCES[source.type](inputs, **settings), limit)
    number = 0
    try:
        for number, (path, line, fields) in enumerate(rows, 1):
            key = number if source.key is None else _key(source.key, fields, path, line)
            yield Row(number, key, fields, path, line)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError([Problem(inputs.current, f"cannot read: {reason}")]) from error
    if number == 0:
        none = "the source has no rows" if source.where is None else "no row of the source fits `where`"
        raise InputError([Problem(source.path, none)])
