"""Check the values of sinks that follow from the row alone, for all rows, before anything is sent."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from runner.errors import InputError, Problem
from runner.io_types.limits import CUT_REMEDY, Overflow
from runner.sinks.column_schemas import build_column_schemas
from runner.sinks.file_names import FileNames, NameIndex
from runner.sinks.fit import compile_column, describe_rounding
from runner.sinks.own_fields import list_own_fields
from runner.sinks.registry import column_expressions, find_sink_type
from runner.sources.input_files import Inputs
from runner.sources.read import Row
from runner.spec.spec import Sink, Spec
from runner.tabular.column_types import NeedsRounding, make_converter
from runner.templates.expressions import find_expression_names, parse_path

_MAX_SHOWN = 5


_ROW_NAMES = {"key", "row"}


_ERRORS = (ValueError, TypeError, RecursionError, ArithmeticError)


Verify = Callable[[Any, Row], Any]
"""Raises an error of `_ERRORS` for a value that a sink cannot write; returns the value to check next."""


@dataclass(slots=True)
class _ColumnCheck:
    """One column of the sink with this index, and what was found in it so far.

    `steps` are the checks of its values. A row that did not succeed passes those in `only_succeeded`. Values
    `only_overflow` if all that is wrong with them is that they do not fit. `unrounded` is the error of one with
    too many decimal places.
    """

    sink: Sink
    index: int
    setting: str
    name: str
    text: str
    evaluate: Callable[[Mapping[str, Any]], Any]
    steps: list[Verify]
    only_succeeded: list[Verify]
    count: int = 0
    has_blank: bool = False
    only_overflow: bool = True
    unrounded: NeedsRounding | None = None
    shown: list[Problem] = field(default_factory=list)

    def add_row(self, row: Row, names: Mapping[str, Any], *, is_rejected: bool) -> None:
        """Check the column's value for one row."""
        if is_rejected and self.sink.rows == "succeeded":
            return
        value = None
        try:
            value = self.evaluate(names)
            found = value
            for step in self.only_succeeded if not is_rejected else ():
                found = step(found, row)
            for step in self.steps:
                found = step(found, row)
        except _ERRORS as error:
            self.only_overflow &= isinstance(error, Overflow)
            if isinstance(error, NeedsRounding):
                self.unrounded = error
            self._note(row, value, str(error))

    def _note(self, row: Row, value: Any, message: str) -> None:
        self.count += 1
        self.has_blank |= isinstance(value, str) and not value.strip()
        if len(self.shown) < _MAX_SHOWN:
            self.shown.append(Problem(row.path, f"column {self.name!r} of row {row.key!r}: {message}", row.line))


class SinkRowChecks:
    """The columns of a spec's sinks that follow from the row alone, checked row by row.

    The types of the source's columns are known from `inputs` once the first row is read.
    """

    def __init__(self, spec: Spec, inputs: Inputs) -> None:
        self._spec, self._inputs = spec, inputs
        self._checks: list[_ColumnCheck] | None = None
        self._resources = ExitStack()

    def add_row(self, row: Row, *, is_rejected: bool) -> None:
        """Check one row; a rejected row is one that is not sent, and does not succeed."""
        if self._checks is None:
            self._checks = list(self._build_checks())
        if self._checks:
            names = {"key": row.key, "row": row.fields}
            for check in self._checks:
                check.add_row(row, names, is_rejected=is_rejected)

    def finish(self, end: str = "nothing was sent") -> list[Problem]:
        """Return the problems of sinks that will not be written, though others will: some text does not fit.

        There is a problem for each of the first rows of a column, and one for the column with the remedy. Raises
        InputError if no sink can be written, or if rows are wrong in another way; `end` says what follows then.
        """
        failed = [check for check in self._checks or () if check.count]
        is_lost = {check.index for check in failed} == set(range(len(self._spec.sinks)))
        goes_on = not is_lost and all(check.only_overflow for check in failed)
        problems = []
        for check in failed:
            follows, remedy = "the other sinks are written" if goes_on else end, self._find_remedy(check)
            end_of_column = self._spec.problem(check.setting, f"{_describe(check, follows)}: {remedy}")
            problems += [*check.shown, replace(end_of_column, remedy=remedy)]
        if problems and not goes_on:
            raise InputError(problems)
        return problems

    def close(self) -> None:
        """Free the disk space that the checks used."""
        self._resources.close()

    def _find_remedy(self, check: _ColumnCheck) -> str:
        if check.unrounded is not None:
            has_query = "query" in self._spec.source.options
            return describe_rounding(check.name, check.text, check.unrounded, has_query=has_query)
        return _remedy(check)

    def _build_checks(self) -> Iterator[_ColumnCheck]:
        for index, sink in enumerate(self._spec.sinks):
            columns = column_expressions(sink, own_fields=list_own_fields(self._spec))
            kind = find_sink_type(sink.type)
            schemas = build_column_schemas(self._spec, sink, columns, self._inputs.types)
            for name, text in columns.items():
                if not find_expression_names(text) <= _ROW_NAMES:
                    continue
                typed, steps = list[Verify](), list[Verify]()
                if kind.is_typed and sink.rows != "failed":
                    typed.append(_ignore_row(make_converter(schemas[name], keep_nested=kind.is_flat)))
                if kind.check_value is not None:
                    steps.append(_ignore_row(kind.check_value))
                if kind.limit is not None and not sink.is_cut:
                    steps.append(_ignore_row(kind.limit.check))
                if sink.type == "sql" and name == sink.options.get("key", "key") and text != "key":
                    steps.append(self._make_key_check())
                if sink.type == "files" and name == "name":
                    steps.append(self._make_name_check())
                if typed or steps or parse_path(text) is None:
                    own = f"sinks.{index}.{name}" if kind.expressions else f"sinks.{index}.columns.{name}"
                    setting = own if own in self._spec.positions else f"sinks.{index}"
                    yield _ColumnCheck(sink, index, setting, name, text, compile_column(text), steps, typed)

    def _make_name_check(self) -> Verify:
        names = FileNames()
        self._resources.callback(names.close)
        return lambda value, row: names.add(value, _place(row))

    def _make_key_check(self) -> Verify:
        seen = NameIndex()
        self._resources.callback(seen.close)

        def verify(value: Any, row: Row) -> Any:
            if value is None:
                raise ValueError("it is null, but must identify the row in the table")
            if (found := seen.setdefault(str(value), "", "", _place(row))) is not None:
                raise ValueError(f"{value!r} is already used by {found[2]}, and one of the rows would be lost")
            return value

        return verify


def _ignore_row(check: Callable[[Any], Any]) -> Verify:
    return lambda value, _: check(value)


def _place(row: Row) -> str:
    return f"row {row.key!r} ({row.path}:{row.line})"


def _describe(check: _ColumnCheck, end: str) -> str:
    """Return how many rows a sink cannot write, and what follows."""
    rows = "1 row" if check.count == 1 else f"{check.count:,} rows"
    which = f" (the first {_MAX_SHOWN} are shown)" if check.count > _MAX_SHOWN else ""
    return f"column {check.name!r} cannot be written for {rows}{which}; {end}"


def _remedy(check: _ColumnCheck) -> str:
    if check.only_overflow:
        return CUT_REMEDY
    if check.sink.type == "files":
        return "change `name`"
    if check.sink.type == "sql" and check.name not in check.sink.types:
        return "correct the rows, or set `key` to a column that differs in each row"
    if check.name not in check.sink.types:
        return "correct the rows, or change the expression of the column"
    text = check.text if parse_path(check.text) else f"({check.text})"
    blank = f"set the column to `none if {text} | trim == '' else {text}` to write empty cells as null, "
    return f"{blank if check.has_blank else ''}correct the rows, or set `types: {{{check.name}: string}}`"
