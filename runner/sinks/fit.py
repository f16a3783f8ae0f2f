"""Compute the values of a sink's columns, and fit them into its cells: an error, or cut and counted."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runner.io_types.limits import ColumnError, Limit, Overflow
from runner.tabular.column_types import NeedsRounding
from runner.templates.expressions import RECORD_FIELDS, compile_expression, parse_path

_KEY_REMEDY = "it identifies the row, and is never cut: shorten it in the expression of the column"


VALUE_ERRORS = (ValueError, TypeError, RecursionError, ArithmeticError)
"""Exceptions raised for values that do not fit their column, by an expression, a converter or a writer."""


Fit = Callable[[list[Any]], list[Any]]
"""Returns the values of a row that a sink can hold. Raises ColumnError."""


def require_finite(value: Any) -> Any:
    """Return a value that an expression has computed. Raises ValueError for an infinite number or NaN in it."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"the computed number is {value}, which JSON cannot express: change the expression")
    if isinstance(value, list | tuple):
        for part in value:
            require_finite(part)
    elif isinstance(value, dict):
        require_finite(list(value.values()))
    return value


def compile_column(text: str) -> Callable[[Mapping[str, Any]], Any]:
    """Return the function that computes the value of a column; see `require_finite`. Raises ExpressionError."""
    evaluate = compile_expression(text)
    # A path only takes a value that was read as JSON.
    return evaluate if parse_path(text) is not None else lambda names: require_finite(evaluate(names))


def compile_columns(expressions: Mapping[str, str]) -> Callable[[Mapping[str, Any]], list[Any]]:
    """Return the function that computes the values of all columns of a record. It raises ColumnError."""
    if all(text in RECORD_FIELDS for text in expressions.values()):
        fields = list(expressions.values())
        return lambda record: [record[name] for name in fields]
    columns = {name: compile_column(text) for name, text in expressions.items()}

    def compute(record: Mapping[str, Any]) -> list[Any]:
        found = []
        for name, evaluate in columns.items():
            try:
                found.append(evaluate(record))
            except VALUE_ERRORS as error:
                raise ColumnError(name, str(error)) from error
        return found

    return compute


def describe_rounding(name: str, text: str, error: NeedsRounding, *, has_query: bool = False) -> str:
    """Return how to round the values of a column that is computed by `text`, of rows that a query may read."""
    path, digits = parse_path(text), error.scale
    field = str(path[-1]) if path and path[0] == "row" and len(path) == 2 else None
    # Decimals of a database are text.
    is_typed = error.is_text and field is not None and not has_query
    value = f"{text if path else f'({text})'}{' | float' if error.is_text and not is_typed else ''}"
    query = f"round it in the query (`ROUND({field}, {digits})`), or " if has_query and field else ""
    typed = f"read it with `types: {{{field}: number}}` in the source and " if is_typed else ""
    return (
        f"{query}{typed}round it in the column of the spec (`{name}: {value} | round({digits})`), "
        f"or write it as text (`types: {{{name}: string}}`)"
    )


def make_fit(
    columns: Sequence[str], limits: Mapping[str, Limit], cuts: Counter[str], *, is_cut: bool, whole: str | None
) -> Fit:
    """Return the function that fits the values of the columns into their limits.

    With `is_cut`, a value that does not fit is cut, and counted in `cuts` by its column. The column `whole` is
    never cut: it identifies the rows.
    """
    checks = [(index, name, limits[name]) for index, name in enumerate(columns) if name in limits]

    def fit(values: list[Any]) -> list[Any]:
        for index, name, limit in checks:
            try:
                limit.check(values[index])
            except Overflow as error:
                if not is_cut or name == whole:
                    remedy = _KEY_REMEDY if name == whole else error.remedy
                    raise ColumnError(name, f"{error}; {remedy}") from error
                values[index] = _cut(limit, name, values[index])
                cuts[name] += 1
        return values

    return fit


def _cut(limit: Limit, name: str, value: Any) -> Any:
    try:
        return limit.cut(value)
    except Overflow as error:
        raise ColumnError(name, f"{error}; {error.remedy}") from error
