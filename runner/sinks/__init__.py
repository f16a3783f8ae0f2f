"""Sinks for outcomes: each sink type is a function that writes rows of values to a place."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, TypeVar

from runner.columns import Converter, make_converter
from runner.compressed import is_compressed
from runner.database.connection import DatabaseError
from runner.database.tables import find_schema_mismatch
from runner.errors import InputError, Problem
from runner.extras import missing_package_message
from runner.prompt.expression import RECORD_FIELDS, compile_expression
from runner.remote import is_url
from runner.sinks.csv import write_csv
from runner.sinks.files import write_files
from runner.sinks.jsonl import write_jsonl
from runner.sinks.parquet import write_parquet
from runner.sinks.place import Destination, resolve_destination, why_not_writable
from runner.sinks.schemas import build_column_schemas
from runner.sinks.sql import write_sql
from runner.sinks.xlsx import write_xlsx
from runner.spec.check import suggest_similar
from runner.spec.spec import Sink, Spec

__all__ = ["SINKS", "Destination", "check_destination", "check_sinks", "open_sink", "resolve_destination"]

_REMEDY = "fix the sink and run again: nothing is lost, and no request is sent twice"

Record = Mapping[str, Any]
"""The final record of one row, by the names in `prompt.RECORD`."""

SINKS: dict[str, Callable[..., AbstractContextManager[Callable[[Sequence[Any]], None]]]] = {
    "csv": write_csv,
    "files": write_files,
    "jsonl": write_jsonl,
    "parquet": write_parquet,
    "sql": write_sql,
    "xlsx": write_xlsx,
}
_TYPED_SINKS, _FLAT_SINKS, _SELF_COMPRESSED = ("parquet", "sql", "xlsx"), ("sql", "xlsx"), ("parquet", "xlsx")
T = TypeVar("T")
_EXTRAS = {"parquet": "data", "sql": "sql", "xlsx": "xlsx"}
_DESTINATION_KEYS = ("path", "url")


def _column_expressions(sink: Sink) -> dict[str, str]:
    """Return the columns of a sink by name, as expressions; a `files` sink has `name` and `content`."""
    if sink.type == "files":
        return {"name": sink.options["name"], "content": sink.options.get("content", "output")}
    return sink.columns or {name: name for name in RECORD_FIELDS}


def _setting_path(sink: Sink, index: int, name: str) -> str:
    return f"sinks.{index}.{name}" if sink.type == "files" else f"sinks.{index}.columns.{name}"


def check_sinks(spec: Spec) -> list[Problem]:
    """Return the problems of a spec's sinks that can be found without accessing their places."""
    problems = []
    for index, sink in enumerate(spec.sinks):
        columns, path = _column_expressions(sink), str(sink.options.get("path", ""))
        if (extra := _EXTRAS.get(sink.type, "data" if is_url(path) else "")) and (
            lacks := missing_package_message(extra)
        ):
            problems.append(spec.problem(f"sinks.{index}.type", lacks))
        for name, text in columns.items():
            try:
                compile_expression(text)
            except ValueError as error:
                problems.append(spec.problem(_setting_path(sink, index, name), f"column {name!r}: {error}"))
        for name in sink.types:
            if name not in columns:
                message = f"there is no column {name!r}: {suggest_similar(name, columns)}"
                problems.append(spec.problem(f"sinks.{index}.types.{name}", message))
        if sink.type in _SELF_COMPRESSED and is_compressed(path):
            message = f"{path} would be compressed twice ({sink.type} files already are): remove the suffix"
            problems.append(spec.problem(f"sinks.{index}.path", message))
        if sink.type == "sql" and (key := sink.options.get("key", "key")) not in columns:
            message = f"there is no column {key!r} to identify the rows of the table: set `key` to a column"
            problems.append(spec.problem(f"sinks.{index}", message))
    return problems


def check_destination(
    spec: Spec, index: int, destination: Destination, types: Mapping[str, Any] | None = None
) -> Problem | None:
    """Return why a sink cannot write to its place, as far as can be told without writing, or None.

    `types` are the schemas of the source's columns. If given, check also that a table accepts such values.
    """
    sink = spec.sinks[index]
    at = f"sinks.{index}.{next(name for name in _DESTINATION_KEYS if name in sink.options)}"
    message = None
    if sink.type != "sql" or destination.path is not None:
        message = why_not_writable(destination, is_folder=sink.type == "files")
    if message is None and sink.type == "files" and destination.path is None:
        message = "a files sink must write to a folder on this machine"
    if message is None and sink.type == "sql" and (destination.path is None or destination.path.exists()):
        message = _find_table_mismatch(spec, sink, destination, types)
    return spec.problem(at, message) if message is not None else None


def _find_table_mismatch(
    spec: Spec, sink: Sink, destination: Destination, types: Mapping[str, Any] | None
) -> str | None:
    """Return why a table does not accept the rows of a sink, or None."""
    found = build_column_schemas(spec, sink, _column_expressions(sink), types or {})
    key = sink.options.get("key", "key")
    try:
        return find_schema_mismatch(
            destination.database_url, sink.options["table"], found, key, is_typed=types is not None
        )
    except DatabaseError as error:
        return f"cannot write: {error}"


_VALUE_ERRORS = (ValueError, TypeError, RecursionError, ArithmeticError)
"""Exceptions raised for values that do not fit their column, by a converter or by a writer."""


def _write_error(spec: Spec, index: int, destination: Destination, error: Exception) -> InputError:
    """Return the error for a sink that cannot be written, with its remedy."""
    reason = (error.strerror or error) if isinstance(error, OSError) else error
    return InputError([spec.problem(f"sinks.{index}", f"cannot write {destination}: {reason}; {_REMEDY}")])


@contextmanager
def _open_writer(spec: Spec, index: int, sink: AbstractContextManager[T], destination: Destination) -> Iterator[T]:
    """Yield the function that a sink yields.

    Errors of the sink itself, at the beginning and at the end, become an InputError that names it. Errors of the
    body pass unchanged.
    """
    own = (OSError, DatabaseError, *_VALUE_ERRORS)
    try:
        write = sink.__enter__()
    except own as error:
        raise _write_error(spec, index, destination, error) from error
    try:
        yield write
    except BaseException as error:
        # An error while closing the sink must not hide this one.
        with suppress(Exception):
            sink.__exit__(type(error), error, error.__traceback__)
        raise
    try:
        sink.__exit__(None, None, None)
    except own as error:
        raise _write_error(spec, index, destination, error) from error


def _convert_values(
    values: Sequence[Any], converters: Mapping[str, Converter], *, has_succeeded: bool
) -> list[Any]:
    """Return values converted to the types of their columns. Raises ValueError that names the column.

    For a row that did not succeed, a value that does not fit its type becomes null.
    """
    found = []
    for value, (name, convert) in zip(values, converters.items(), strict=True):
        try:
            found.append(convert(value))
        except (ValueError, ArithmeticError) as error:
            if has_succeeded:
                raise ValueError(f"{name}: {error}") from error
            found.append(None)
    return found


@contextmanager
def open_sink(
    spec: Spec, index: int, destination: Destination, types: Mapping[str, Any]
) -> Iterator[Callable[[Record], bool]]:
    """Yield a function that writes one record and returns whether the record belongs in this sink.

    The output appears when the context ends without an error. `types` are the schemas of the source's columns.
    Raises InputError if a column cannot be computed, does not fit its type, or cannot be written.
    """
    sink = spec.sinks[index]
    columns = {name: compile_expression(text) for name, text in _column_expressions(sink).items()}
    found = build_column_schemas(spec, sink, _column_expressions(sink), types)
    is_flat = sink.type in _FLAT_SINKS
    converters = {name: make_converter(one, keep_nested=is_flat) for name, one in found.items()}
    options = {name: value for name, value in sink.options.items() if name not in _DESTINATION_KEYS}
    if sink.type == "files":
        options = {}

    with _open_writer(spec, index, SINKS[sink.type](destination, found, **options), destination) as write:

        def write_record(record: Record) -> bool:
            has_succeeded = record["outcome"] == "succeeded"
            if sink.rows != "all" and (sink.rows == "succeeded") != has_succeeded:
                return False
            try:
                values = [value(record) for value in columns.values()]
                if sink.type in _TYPED_SINKS:
                    values = _convert_values(values, converters, has_succeeded=has_succeeded)
                write(values)
            except (OSError, DatabaseError) as error:
                raise _write_error(spec, index, destination, error) from error
            except _VALUE_ERRORS as error:
                message = f"cannot write the row {record['key']!r}: {error}; {_REMEDY}"
                raise InputError([spec.problem(f"sinks.{index}.columns", message)]) from error
            return True

        yield write_record
