"""Read the rows of a source, with their keys and places."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from runner.errors import InputError, Problem
from runner.files.compression import DECOMPRESSION_ERRORS
from runner.files.extras import missing_package_message
from runner.files.nearest import suggest_file
from runner.files.remote import is_url
from runner.sources.input_files import Inputs
from runner.sources.pilot_sample import draw_pilot
from runner.sources.registry import find_source_type
from runner.sources.select_rows import RawRow, select_rows
from runner.spec.redact import redact_passwords
from runner.spec.schema_errors import suggest_similar
from runner.spec.spec import Source
from runner.tabular.column_types import schema_for_type


class Row(NamedTuple):
    """One input row.

    `number` counts from 1 over the whole source, `line` from 1 in the file `path`. It is a NamedTuple because
    creating a frozen dataclass for each row costs 4 times as much.
    """

    number: int
    key: str | int
    fields: dict[str, Any]
    path: str
    line: int


def _row_key(column: str, fields: dict[str, Any], path: str, line: int, *, is_schemaless: bool) -> str | int:
    if column not in fields:
        remedy = suggest_similar(column, fields)
        if not is_schemaless:
            # All rows lack it, so it is the spec that is wrong.
            raise InputError([Problem("source.key", f"{path} has no column {column!r}: {remedy}", remedy=remedy)])
        raise InputError([Problem(path, f"no key column {column!r}: {remedy}", line, remedy=remedy)])
    key = fields[column]
    if key == "" or key is None:
        remedy = f"fill in {column!r}, or remove `key` from the source to number the rows"
        raise InputError([Problem(path, f"the key {column!r} is empty: {remedy}", line, remedy=remedy)])
    if not isinstance(key, str | int) or isinstance(key, bool):
        message = f"the key {column!r} must be text or a whole number, not {key!r}"
        raise InputError([Problem(path, message, line)])
    return key


def _open_rows(source: Source, inputs: Inputs, limit: int | None) -> Iterator[RawRow]:
    """Yield the selected rows of a source. Raises InputError."""
    settings = source.options if source.output is None else {**source.options, "path": source.output}
    if source.is_given:
        settings = {"given": source.given}
    kind = find_source_type(source.type)
    extra = kind.extra or (kind.url_extra if "url" in source.options else "")
    if extra and (missing := missing_package_message(extra)):
        raise InputError([Problem("source.type", missing)])
    inputs.columns = source.columns
    inputs.types.update({name: schema_for_type(written) for name, written in source.types.items()})
    rows = select_rows(source, kind.function(inputs, **settings), limit, is_schemaless=kind.is_schemaless)
    if source.pilot is not None:
        rows = draw_pilot(rows, source.pilot, inputs)
    is_empty = True
    try:
        for row in rows:
            yield row
            is_empty = False
    except (OSError, *DECOMPRESSION_ERRORS) as error:
        raise InputError([_unreadable(source, inputs, error)]) from error
    if is_empty:
        none = "the source has no rows" if source.where is None else "no row of the source matches `where`"
        raise InputError([Problem(redact_passwords(source.path), none)])


def _unreadable(source: Source, inputs: Inputs, error: BaseException) -> Problem:
    """Return the problem of a file that cannot be read; for a missing one with the name of the nearest."""
    reason = redact_passwords(getattr(error, "strerror", None) or str(error))
    remedy = ""
    if isinstance(error, FileNotFoundError) and "path" in source.options and not is_url(source.path):
        remedy = suggest_file(inputs.root, source.path)
    return Problem(inputs.current_path, f"cannot read: {reason}{remedy and f': {remedy}'}", remedy=remedy)


def read_rows(
    source: Source,
    inputs: Inputs,
    *,
    limit: int | None = None,
    on_bad_key: Callable[[Problem], None] | None = None,
) -> Iterator[Row]:
    """Yield the rows of a source in order, at most `limit`.

    Raises InputError with file and line. A row without a usable key is left out if there is an `on_bad_key` to
    tell of it. Duplicate keys are found later, in the store, because that needs all keys.
    """
    is_schemaless = find_source_type(source.type).is_schemaless
    for number, (path, line, fields) in enumerate(_open_rows(source, inputs, limit), 1):
        key: str | int = number
        try:
            if source.key is not None:
                key = _row_key(source.key, fields, path, line, is_schemaless=is_schemaless)
        except InputError as error:
            if on_bad_key is None:
                raise
            on_bad_key(error.problems[0])
        yield Row(number, key, fields, path, line)
