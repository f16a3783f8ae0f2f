"""Open a sink: compute the columns of each record, convert them to their types, and write them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, TypeVar

from runner.errors import InputError
from runner.io_types.types import select_options
from runner.sinks.citations import asks_for_citations
from runner.sinks.column_schemas import build_column_schemas
from runner.sinks.destination import Destination
from runner.sinks.registry import column_expressions, find_sink_type
from runner.spec.spec import Spec
from runner.tabular.column_types import Converter, make_converter
from runner.tabular.database import DatabaseError
from runner.templates.expressions import compile_expression

_REMEDY = "fix the sink and run again: nothing is lost, and no request is sent twice"


Record = Mapping[str, Any]
"""The final record of one row, by the names in `expressions.RECORD_FIELDS`."""


T = TypeVar("T")


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
    expressions = column_expressions(sink, has_citations=asks_for_citations(spec))
    columns = {name: compile_expression(text) for name, text in expressions.items()}
    found = build_column_schemas(spec, sink, expressions, types)
    kind = find_sink_type(sink.type)
    converters = {name: make_converter(one, keep_nested=kind.is_flat) for name, one in found.items()}
    opened = kind.function(destination, found, **select_options(kind.function, sink.options))

    with _open_writer(spec, index, opened, destination) as write:

        def write_record(record: Record) -> bool:
            has_succeeded = record["outcome"] == "succeeded"
            if sink.rows != "all" and (sink.rows == "succeeded") != has_succeeded:
                return False
            try:
                values = [value(record) for value in columns.values()]
                if kind.is_typed:
                    values = _convert_values(values, converters, has_succeeded=has_succeeded)
                write(values)
            except (OSError, DatabaseError) as error:
                raise _write_error(spec, index, destination, error) from error
            except _VALUE_ERRORS as error:
                message = f"cannot write the row {record['key']!r}: {error}; {_REMEDY}"
                at = f"sinks.{index}.columns"
                at = at if at in spec.positions else f"sinks.{index}"
                raise InputError([spec.problem(at, message)]) from error
            return True

        yield write_record
