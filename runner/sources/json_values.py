"""Conversion of values from databases, spreadsheets and Parquet to JSON values."""

import base64
import json
import math
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from runner.tabular.column_types import OUTSIDE_YEARS
from runner.tabular.postgres_values import UnreadableDate

_MAX_SUGGESTED = 8

_EXACT = frozenset((type(None), str, int, bool))


def _sort_key(value: Any) -> tuple[str, Any]:
    return (type(value).__name__, value if isinstance(value, str | int | float) else repr(value))


def _number_to_json(value: float) -> float | None:
    if math.isinf(value):
        raise ValueError("is infinite, which JSON cannot express")
    return None if math.isnan(value) else float.__float__(value)


def _derived_to_json(value: str | int) -> str | int:
    """Return the text or number of a type derived from it, such as numpy.str_ or an IntEnum."""
    return str.__str__(value) if isinstance(value, str) else int.__int__(value)


def _to_name(name: Any) -> str:
    return str.__str__(name if isinstance(name, str) else str(name))


def _container_to_json(value: dict[Any, Any] | list[Any] | tuple[Any, ...] | set[Any] | frozenset[Any]) -> Any:
    if isinstance(value, dict):
        return {_to_name(name): to_json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(part) for part in value]
    # A set has another order in each process, and the requests of the same rows must be the same.
    return sorted(map(to_json, value), key=_sort_key)


def to_json(value: Any) -> Any:
    """Return a value as a JSON value: dates and decimals as text, binary as base64, NaN as null.

    Raises ValueError for a value that JSON cannot express.
    """
    if type(value) in _EXACT:
        return value
    if isinstance(value, str | int):
        return _derived_to_json(value)
    if isinstance(value, float):
        return _number_to_json(value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        # Normalize to UTC: the time zone of a server or session must not change the requests of the same rows.
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError("is not a finite number")
        return format(value, "f")
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, dict | list | tuple | set | frozenset):
        return _container_to_json(value)
    if isinstance(value, UnreadableDate):
        remedy = "convert it to text in the query, or read only other columns, with `columns` in the source"
        raise ValueError(f"is {value.text}, which is {OUTSIDE_YEARS} or no time of a day: {remedy}")
    if isinstance(value, UUID | timedelta):
        return str(value)
    raise ValueError(f"is a {type(value).__name__}, which JSON cannot express: convert it to text")


def row_to_json(columns: list[str], values: Any) -> dict[str, Any]:
    """Return a row as JSON values by column name. Raises ValueError that names the column."""
    fields = dict(zip(columns, values, strict=True))
    for name, value in fields.items():
        if type(value) not in _EXACT:
            try:
                fields[name] = to_json(value)
            except (ValueError, OverflowError) as error:
                raise ValueError(f"{name} {error}") from error
    return fields


def check_column_names(columns: list[Any], what: str, wanted: Sequence[str] = ()) -> list[str]:
    """Return the names of columns. Raises ValueError if a column has no name, or for a duplicate name.

    With `wanted`, the spec takes only these, and the others may have any name.
    """
    seen = set[Any]()  # a header can have thousands of columns
    for index, name in enumerate(columns, 1):
        if not wanted and (not isinstance(name, str) or not name.strip()):
            raise ValueError(f"column {index} has no name in {what}")
        if name in seen and (not wanted or name in wanted):
            raise ValueError(f"two columns are named {name!r} in {what}")
        seen.add(name)
    return columns


def suggest_columns(names: Sequence[str]) -> str:
    """Return what to do about a header with a blank or repeated name."""
    counts = Counter(names)
    usable = [name for name in names if name.strip() and counts[name] == 1]
    remedy = "give each column a name of its own"
    if not usable:
        return remedy
    more = ", …" if len(usable) > _MAX_SUGGESTED else ""
    listed = ", ".join(json.dumps(name, ensure_ascii=False) for name in usable[:_MAX_SUGGESTED])
    return f"{remedy}, or read only columns that have one, with `columns: [{listed}{more}]` in the source"
