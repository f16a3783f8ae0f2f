"""Types of columns: as written in a spec, as JSON schemas, and as the values that a typed sink stores.

The type of a column is a JSON schema. Types that JSON does not have are text with a `format`: date, date-time,
time, byte (base64), and two of our own, decimal(precision,scale) and local-date-time. Widths of numbers are
formats too, with their names in OpenAPI: int32, float.
"""

import base64
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Context, Decimal, InvalidOperation
from typing import Any

import msgspec

from runner.spec.structured.references import resolve_reference
from runner.text import shorten_value

_SCHEMA_BY_TYPE: dict[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "timestamp": {"type": "string", "format": "date-time"},
    "json": {},
}


_DECIMAL = re.compile(r"decimal\((\d+),(\d+)\)")


_INTEGER_TEXT = re.compile(r"[+-]?[0-9]+")


_NUMBER_TEXT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


_LEAP_SECOND = re.compile(r"[0-9]{2}:[0-9]{2}:60|T[0-9]{4}60")


OUTSIDE_YEARS = "outside the years 1 to 9999"


_WIDE_YEAR = re.compile(r"[+-]?[0-9]{5,}-|-[0-9]{4,}-|0000-")


_TRUE, _FALSE = ("true", "t", "yes", "1"), ("false", "f", "no", "0")


_KIND_BY_FORMAT = {
    "date": "date",
    "date-time": "timestamp",
    "local-date-time": "local",
    "time": "time",
    "byte": "binary",
}


Converter = Callable[[Any], Any]
"""Converts a JSON value to the value that a typed sink stores. Raises ValueError."""


class NeedsRounding(ValueError):
    """A number has more decimal places than its type, which has `scale`; `is_text` if it is written as text."""

    def __init__(self, value: Any, scale: int) -> None:
        super().__init__(f"{shorten_value(value)} has more than {scale} decimal places")
        self.scale, self.is_text = scale, isinstance(value, str)


def schema_for_type(type_name: str) -> dict[str, Any]:
    """Return the JSON schema of a type as written in a spec, for example `decimal(12,2)`."""
    return _SCHEMA_BY_TYPE.get(type_name) or (
        {} if type_name == "json" else {"type": "string", "format": type_name}
    )


def decimal_precision(schema: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the precision and scale of a decimal, or None if the schema has another type."""
    match = _DECIMAL.fullmatch(str(schema.get("format", "")))
    return (int(match[1]), int(match[2])) if match else None


def resolve_refs(schema: Any, root: Mapping[str, Any], *, depth: int = 12) -> dict[str, Any]:
    """Return a schema without null, and with references into `root` replaced by the schemas they refer to.

    Parts nested deeper than `depth`, such as recursive ones, become the empty schema. So do unions of
    several types.
    """
    if not isinstance(schema, Mapping) or depth == 0:
        return {}
    if "$ref" in schema:
        return resolve_refs(resolve_reference(root, schema["$ref"]), root, depth=depth - 1)
    variants = [one for one in schema.get("anyOf") or schema.get("oneOf") or () if one != {"type": "null"}]
    if variants:
        return resolve_refs(variants[0], root, depth=depth - 1) if len(variants) == 1 else {}
    inner = dict(schema)
    if isinstance(properties := schema.get("properties"), Mapping):
        inner["properties"] = {
            name: resolve_refs(part, root, depth=depth - 1) for name, part in properties.items()
        }
    if "items" in schema:
        inner["items"] = resolve_refs(schema["items"], root, depth=depth - 1)
    return inner


def column_kind(schema: Mapping[str, Any]) -> str:
    """Return the kind of a schema's values.

    It is string, integer, number, boolean, date, timestamp, local (a timestamp without a zone), time, binary,
    decimal, array or object. Everything else is json, which is stored as text.
    """
    types = schema.get("type")
    names = [name for name in (types if isinstance(types, list) else [types]) if name not in ("null", None)]
    if not names:
        values = [*schema.get("enum", ()), *([schema["const"]] if "const" in schema else [])]
        return "string" if values and all(isinstance(value, str) for value in values) else "json"
    if names == ["string"]:
        return "decimal" if decimal_precision(schema) else _KIND_BY_FORMAT.get(str(schema.get("format")), "string")
    if names == ["array"]:
        return "array" if schema.get("items") else "json"
    if names == ["object"]:
        return "object" if schema.get("properties") and schema.get("additionalProperties") is False else "json"
    return names[0] if len(names) == 1 else "number" if set(names) == {"integer", "number"} else "json"


def subschema_at(schema: Mapping[str, Any], steps: Sequence[str | int]) -> dict[str, Any]:
    """Return the schema at these names and indexes below a schema, or an empty one if it is not defined."""
    found: Any = schema
    for step in steps:
        properties = found.get("properties")
        found = found.get("items") if isinstance(step, int) else properties and properties.get(step)
        if not isinstance(found, Mapping):
            return {}
    return dict(found)


def to_text(value: Any) -> str | None:
    """Return a JSON value as text: text is unchanged, null is None, everything else is JSON."""
    return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()


def _to_integer(value: Any) -> Any:
    is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not (is_whole or (isinstance(value, str) and _INTEGER_TEXT.fullmatch(value))):
        raise ValueError(f"{shorten_value(value)} is not a whole number")
    number = int(value)
    if not -(2**63) <= number < 2**64:
        raise ValueError(f"{number} has more than 64 bits")
    return number


def _to_number(value: Any) -> Any:
    is_text = isinstance(value, str)
    if isinstance(value, bool) or not (
        isinstance(value, int | float) or (is_text and _NUMBER_TEXT.fullmatch(value))
    ):
        raise ValueError(f"{shorten_value(value)} is not a number")
    try:
        number = float(value)
    except OverflowError as error:
        raise ValueError("the number is too large") from error
    if not math.isfinite(number):
        raise ValueError(f"{shorten_value(value)} is too large, or not a number")
    return number


def _to_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in (*_TRUE, *_FALSE):
        return value.strip().lower() in _TRUE
    raise ValueError(f"{shorten_value(value)} is neither true nor false")


def _parse_iso(kind: Any, value: Any, example: str) -> Any:
    try:
        return kind.fromisoformat(str(value))
    except ValueError as error:
        if _LEAP_SECOND.search(str(value)):
            message = f"{shorten_value(value)} has a leap second, which is not supported: write the second as 59"
            raise ValueError(f"{message}, or read it as text (type string)") from error
        if _WIDE_YEAR.match(str(value)):
            message = f"{shorten_value(value)} is {OUTSIDE_YEARS}: write another date"
            raise ValueError(f"{message}, or read it as text (type string)") from error
        raise ValueError(f"{shorten_value(value)} is not a {kind.__name__} such as {example}: {error}") from error


def _to_timestamp(value: Any) -> Any:
    # The format allows lower-case letters; Python does not.
    found = _parse_iso(datetime, str(value).upper(), "2026-01-31T08:00:00Z")
    if found.tzinfo is None:
        return found.replace(tzinfo=UTC)
    try:
        # Some sinks cannot store a zone, so all times are converted to the same one.
        return found.astimezone(UTC)
    except OverflowError as error:
        message = f"{shorten_value(value)} is {OUTSIDE_YEARS} in UTC: write another date"
        raise ValueError(f"{message}, or read it as text (type string)") from error


def _make_decimal_converter(precision: int, scale: int) -> Converter:
    context, unit = Context(prec=precision), Decimal(1).scaleb(-scale)

    def convert(value: Any) -> Any:
        try:
            number = Decimal(str(value))
        except InvalidOperation as error:
            raise ValueError(f"{shorten_value(value)} is not a decimal number") from error
        try:
            rounded = number.quantize(unit, context=context)
        except InvalidOperation as error:
            raise ValueError(f"{shorten_value(value)} has more than {precision} digits") from error
        if rounded != number:
            raise NeedsRounding(value, scale)
        return rounded

    return convert


_CONVERTERS: dict[str, Converter] = {
    "string": to_text,
    "json": to_text,
    "integer": _to_integer,
    "number": _to_number,
    "boolean": _to_boolean,
    "date": lambda value: _parse_iso(date, value, "2026-01-31"),
    "time": lambda value: _parse_iso(time, value, "08:00:00"),
    "timestamp": _to_timestamp,
    "local": lambda value: _parse_iso(datetime, value, "2026-01-31T08:00:00").replace(tzinfo=None),
    "binary": lambda value: base64.b64decode(str(value), validate=True),
}


def make_converter(schema: Mapping[str, Any], *, keep_nested: bool = False) -> Converter:
    """Return the function that converts a JSON value to the value that a typed sink stores; null is None.

    A date becomes a `datetime.date`, a timestamp an aware `datetime`, a decimal a `Decimal`, binary `bytes`. If
    `keep_nested`, lists and mappings stay JSON values.
    """
    kind = column_kind(schema)
    if keep_nested and kind in ("array", "object"):
        return lambda value: value
    if kind == "array":
        each = make_converter(schema["items"])
        inner: Converter = lambda value: [each(one) for one in _expect_type(list, value)]  # noqa: E731
    elif kind == "object":
        parts = {name: make_converter(part) for name, part in schema["properties"].items()}
        inner = lambda value: {n: part(_expect_type(dict, value).get(n)) for n, part in parts.items()}  # noqa: E731
    elif kind == "decimal":
        inner = _make_decimal_converter(*(decimal_precision(schema) or (38, 0)))
    else:
        inner = _CONVERTERS[kind]
    return lambda value: None if value is None else inner(value)


def _expect_type(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{shorten_value(value)} is not an {'array' if kind is list else 'object'}")
    return value


def make_text_parser(type_name: str) -> Converter:
    """Return the function that reads a source's text as a JSON value of a type.

    Empty text becomes null, except for the type string. Values that are not text stay the same.
    The function raises ValueError for values that are not of the type.
    """
    convert = make_converter(schema_for_type(type_name))
    is_plain = type_name in ("integer", "number", "boolean")

    def read(value: Any) -> Any:
        if type_name in ("json", "string") and not isinstance(value, str):
            return value
        if not isinstance(value, str):
            found = convert(value)
            return found if is_plain else value
        if type_name == "json":
            return None if not value.strip() else msgspec.json.decode(value)
        if type_name == "string":
            return value
        if not value.strip():
            return None
        found = convert(value.strip())
        return found if is_plain else value.strip()

    return read
