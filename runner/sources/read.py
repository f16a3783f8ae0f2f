"""Read the rows of a source, with their keys and places."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from runner.errors import InputError, Problem
from runner.files.compression import DECOMPRESSION_ERRORS
from runner.files.extras import missing_package_message
from runner.sources.input_files import Inputs
from runner.sources.registry import find_source_type
from runner.sources.select_rows import select_rows
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


def _row_key(column: str, fields: dict[str, Any], path: str, line: int) -> str | int:
    if column not in fields:
        raise InputError([Problem(path, f"no key column {column!r}: {suggest_similar(column, fields)}", line)])
    key = fields[column]
    if not isinstance(key, str | int) or isinstance(key, bool) or key == "":
        raise InputError([Problem(path, f"the key {column!r} must be text or a whole number, not {key!r}", line)])
    return key


def read_rows(source: Source, inputs: Inputs, *, limit: int | None = None) -> Iterator[Row]:
    """Yield the rows of a source in order, at most `limit`.

    Raises InputError with file and line. Duplicate keys are found later, in the store, because that needs all
    keys.
    """
    settings = source.options if source.output is None else {**source.options, "path": source.output}
    kind = find_source_type(source.type)
    extra = kind.extra or (kind.url_extra if "url" in source.options else "")
    if extra and (missing := missing_package_message(extra)):
        raise InputError([Problem("source.type", missing)])
    inputs.types.update({name: schema_for_type(written) for name, written in source.types.items()})
    rows = select_rows(source, kind.function(inputs, **settings), limit, is_schemaless=kind.is_schemaless)
    number = 0
    try:
        for number, (path, line, fields) in enumerate(rows, 1):
            key = number if source.key is None else _row_key(source.key, fields, path, line)
            yield Row(number, key, fields, path, line)
    except (OSError, *DECOMPRESSION_ERRORS) as error:
        reason = redact_passwords(getattr(error, "strerror", None) or str(error))
        raise InputError([Problem(inputs.current_path, f"cannot read: {reason}")]) from error
    if number == 0:
        none = "the source has no rows" if source.where is None else "no row of the source matches `where`"
        raise InputError([Problem(redact_passwords(source.path), none)])
