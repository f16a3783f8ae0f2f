"""Open a sink: compute the columns of each record, convert them to their types, and write them."""

import sqlite3
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from runner.errors import InputError
from runner.io_types.limits import MAX_BUFFERED_ROWS, ColumnError, Limit
from runner.io_types.types import select_options
from runner.sinks.column_schemas import build_column_schemas
from runner.sinks.destination import Destination
from runner.sinks.fit import VALUE_ERRORS, Fit, compile_columns, describe_rounding, make_fit
from runner.sinks.own_fields import list_own_fields
from runner.sinks.registry import column_expressions, find_sink_type
from runner.spec.spec import Spec
from runner.tabular.column_types import Converter, NeedsRounding, make_converter
from runner.tabular.database import DatabaseError
from runner.templates.expressions import ExpressionError
from runner.text import shorten_value

_REMEDY = "run again: nothing is lost, and no request is sent twice"


Record = Mapping[str, Any]
"""The final record of one row, by the names in `expressions.RECORD_FIELDS`."""


def _has_succeeded(record: Record) -> bool:
    return bool(record["outcome"] == "succeeded")


_TAKES: dict[str, Callable[[Record], bool]] = {
    "all": lambda _: True,
    "succeeded": _has_succeeded,
    "failed": lambda record: not _has_succeeded(record),
    "wrong": lambda record: bool(record["wrong"]),
}
"""Tells by the `rows` of a sink if it takes a record."""


T = TypeVar("T")


# SQLite holds the names and keys of rows in temporary files; the tables of users raise DatabaseError.
_PLACE_ERRORS = (OSError, DatabaseError, sqlite3.Error)
"""Exceptions raised for a place that cannot be written."""


def make_write_error(spec: Spec, index: int, destination: Destination, error: Exception) -> InputError:
    """Return the error for a sink of a spec that cannot be written, with its remedy."""
    reason = (error.strerror or error) if isinstance(error, OSError) else error
    if isinstance(error, sqlite3.Error):
        reason = f"a temporary file cannot be written: {error}: make space in the folder of temporary files"
    message = f"cannot write {destination}: {reason}; fix the sink and {_REMEDY}"
    return InputError([spec.problem(f"sinks.{index}", message)])


@dataclass(frozen=True, slots=True)
class _Place:
    """One sink of a spec and its destination, which its errors name; `keys` are those of its last rows."""

    spec: Spec
    index: int
    destination: Destination
    keys: deque[str | int] = field(default_factory=lambda: deque(maxlen=MAX_BUFFERED_ROWS))

    def write_error(self, error: Exception) -> InputError:
        """Return the error for a sink that cannot be written, with its remedy."""
        if isinstance(error, ColumnError):
            return self.row_error(error)
        return make_write_error(self.spec, self.index, self.destination, error)

    def row_error(self, error: Exception) -> InputError:
        """Return the error for a row that a sink cannot hold, with its remedy; by default it is the last row."""
        column, back = (error.column, error.back) if isinstance(error, ColumnError) else ("", 0)
        key, sink = self.keys[-1 - back], f"sinks.{self.index}"
        settings = (f"{sink}.columns.{column}", f"{sink}.columns", sink)
        at = next((one for one in settings if one in self.spec.positions), sink)
        remedy = f"{self._describe_remedy(column, error)} and {_REMEDY}"
        message = f"cannot write the row {shorten_value(key)}: {error}; {remedy}"
        return InputError([self.spec.problem(at, message)])

    def _describe_remedy(self, column: str, error: Exception) -> str:
        text = column_expressions(self.spec.sinks[self.index], own_fields=list_own_fields(self.spec)).get(column)
        if text is not None and isinstance(error.__cause__, NeedsRounding):
            return describe_rounding(column, text, error.__cause__, has_query="query" in self.spec.source.options)
        what = f"fix the sink {self.destination}"
        return (
            what if text is None else f"change the column in the spec, of the sink that writes {self.destination},"
        )


@contextmanager
def _open_writer(place: _Place, sink: AbstractContextManager[T]) -> Iterator[T]:
    """Yield the function that a sink yields.

    Errors of the sink itself, at the beginning and at the end, become an InputError that names it. Errors of the
    body pass unchanged.
    """
    own = (*_PLACE_ERRORS, *VALUE_ERRORS)
    try:
        write = sink.__enter__()
    except own as error:
        raise place.write_error(error) from error
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
        raise place.write_error(error) from error


def _convert_values(
    values: Sequence[Any], converters: Mapping[str, Converter], *, has_succeeded: bool
) -> list[Any]:
    """Return values converted to the types of their columns. Raises ColumnError.

    For a row that did not succeed, a value that does not fit its type becomes null.
    """
    found = []
    for value, (name, convert) in zip(values, converters.items(), strict=True):
        try:
            found.append(convert(value))
        except (ValueError, ArithmeticError) as error:
            if has_succeeded:
                raise ColumnError(name, str(error)) from error
            found.append(None)
    return found


def _build_fit(place: _Place, columns: Mapping[str, Any], cuts: Counter[str]) -> Fit:
    """Return the function that fits values into the columns of an open sink. Raises InputError."""
    sink = place.spec.sinks[place.index]
    kind, limits = find_sink_type(sink.type), dict[str, Limit]()
    if kind.limit is not None:
        limits = dict.fromkeys(columns, kind.limit)
    if kind.find_limits is not None:
        try:
            options = select_options(kind.find_limits, sink.options)
            limits.update(kind.find_limits(place.destination, columns, **options))
        except (OSError, *VALUE_ERRORS) as error:
            raise place.write_error(error) from error
    key = sink.options.get("key", "key") if sink.type == "sql" else None
    return make_fit(list(columns), limits, cuts, is_cut=sink.is_cut, whole=key)


@contextmanager
def open_sink(
    spec: Spec, index: int, destination: Destination, types: Mapping[str, Any], cuts: Counter[str] | None = None
) -> Iterator[Callable[[Record], bool]]:
    """Yield a function that writes one record and returns whether the record belongs in this sink.

    The output appears when the context ends without an error. `types` are the schemas of the source's columns, and
    `cuts` counts the cells that are cut, by column. Raises InputError if a column cannot be computed, does not fit
    its type, or cannot be written.
    """
    sink, place = spec.sinks[index], _Place(spec, index, destination)
    expressions = column_expressions(sink, own_fields=list_own_fields(spec))
    try:
        compute = compile_columns(expressions)
    except ExpressionError as error:
        # An unfinished run takes edits of its sinks as they are.
        raise InputError([spec.problem(f"sinks.{index}", f"a column cannot be computed: {error}")]) from error
    found = build_column_schemas(spec, sink, expressions, types)
    kind = find_sink_type(sink.type)
    converters = {name: make_converter(one, keep_nested=kind.is_flat) for name, one in found.items()}
    opened = kind.function(destination, found, **select_options(kind.function, sink.options))

    with _open_writer(place, opened) as write:
        fit = _build_fit(place, found, Counter() if cuts is None else cuts)

        def write_record(record: Record) -> bool:
            if not _TAKES[sink.rows](record):
                return False
            place.keys.append(record["key"])
            try:
                values = compute(record)
                if kind.is_typed:
                    values = _convert_values(values, converters, has_succeeded=_has_succeeded(record))
                write(fit(values))
            except _PLACE_ERRORS as error:
                raise place.write_error(error) from error
            except VALUE_ERRORS as error:
                raise place.row_error(error) from error
            return True

        yield write_record
