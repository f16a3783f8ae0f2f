"""Check a value against a JSON schema, and a schema against that of schemas.

jsonschema_rs finds in milliseconds that there is no error. jsonschema, whose import takes a tenth of a second,
describes errors.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import NoneType
from typing import Any

import jsonschema_rs

from runner.spec.yaml.document import Path

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "object": (dict,), "array": (list,), "boolean": (bool,), "null": (NoneType,),
    # A count must be written as an integer: 1e4 is a float, and would be sent as 10000.0.
    "integer": (int,), "number": (int, float),
}  # fmt: skip


def _has_type(value: object, name: str) -> bool:
    return type(value) in _TYPES[name]


def _matches(value: object, pattern: str) -> bool:
    # Python's `$` also matches before a trailing line feed.
    return not isinstance(value, str) or re.fullmatch(pattern.removesuffix("$"), value) is not None


class _StrictType:
    """The keyword `type` for jsonschema_rs."""

    def __init__(self, _: dict[str, Any], names: str | list[str], __: list[str | int]) -> None:
        self._names = [names] if isinstance(names, str) else names

    def validate(self, value: Any) -> None:
        if not any(_has_type(value, name) for name in self._names):
            raise ValueError


class _StrictPattern:
    """The keyword `pattern` for jsonschema_rs."""

    def __init__(self, _: dict[str, Any], pattern: str, __: list[str | int]) -> None:
        self._pattern = pattern

    def validate(self, value: Any) -> None:
        if not _matches(value, self._pattern):
            raise ValueError


@dataclass(frozen=True, slots=True)
class SchemaError:
    """An error in a value: the keyword, its setting, the invalid value and its place."""

    keyword: str
    limit: Any
    instance: Any
    schema: Mapping[str, Any]
    path: Path
    is_key: bool


def _is_valid(schema: dict[str, Any], value: Any) -> bool:
    keywords: dict[str, Any] = {"type": _StrictType, "pattern": _StrictPattern}
    try:
        return jsonschema_rs.validator_for(schema, keywords=keywords, offline=True).is_valid(value)
    except (ValueError, jsonschema_rs.ReferencingError):
        # A value that JSON does not have, such as half a character, or a plugin whose schema is not usable.
        return False


def find_errors(schema: dict[str, Any], value: Any) -> list[SchemaError]:
    """Return all errors of a value. Integers must be written as such, and patterns match whole texts."""
    return [] if _is_valid(schema, value) else list(_explain_errors(schema, value))


def _explain_errors(schema: dict[str, Any], value: Any) -> Iterator[SchemaError]:
    import jsonschema

    def match(_: Any, pattern: str, value: object, __: Any) -> Iterator[jsonschema.ValidationError]:
        if not _matches(value, pattern):
            yield jsonschema.ValidationError("no match")

    base = jsonschema.Draft202012Validator
    checker = base.TYPE_CHECKER.redefine("integer", lambda _, value: _has_type(value, "integer"))
    strict: Any = jsonschema.validators.extend  # it carries no types
    for error in strict(base, {"pattern": match}, type_checker=checker)(schema).iter_errors(value):
        is_key = "propertyNames" in error.absolute_schema_path
        at = tuple(error.absolute_path)
        yield SchemaError(error.validator, error.validator_value, error.instance, error.schema, at, is_key)


def _is_regex(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


@cache
def _schema_validator() -> jsonschema_rs.Validator:
    schema = {"$ref": "https://json-schema.org/draft/2020-12/schema"}
    # As in jsonschema, a pattern must be one of Python.
    formats = {"regex": _is_regex}
    return jsonschema_rs.validator_for(schema, formats=formats, validate_formats=True, offline=True)


@dataclass(frozen=True, slots=True)
class SchemaFault:
    """A fault in a schema: why its part at a path is not valid, and that part."""

    message: str
    path: Path
    instance: Any


def find_fault(schema: dict[str, Any]) -> SchemaFault | None:
    """Return the most relevant fault of a schema of draft 2020-12, or None if it is valid."""
    try:
        is_valid = _schema_validator().is_valid(schema)
    except ValueError:
        is_valid = False
    return None if is_valid else _explain_fault(schema)


def _explain_fault(schema: dict[str, Any]) -> SchemaFault | None:
    import jsonschema

    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        return SchemaFault(error.message, tuple(error.absolute_path), error.instance)
    return None
