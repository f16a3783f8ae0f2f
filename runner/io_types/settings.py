"""Settings of a source or sink as JSON Schema, from the signature and the docstring of its function.

A setting is described by its line in the part `Settings:` of the docstring, or else by its type.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import Parameter
from itertools import takewhile
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from runner.io_types.annotations import NOT_A_SETTING

_JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}


_SETTING_LINE = re.compile(r" {4}(\w+): (.*)")


@dataclass(frozen=True, slots=True)
class Settings:
    """The JSON schema of each setting by name, and the names of those that have no default.

    `summary` is the first line of the docstring. `described` holds all of its lines about settings, including
    those for settings that are no parameters.
    """

    summary: str
    properties: dict[str, dict[str, Any]]
    required: tuple[str, ...]
    described: dict[str, str]


def _schema_of(annotation: Any) -> dict[str, Any]:
    """Return the JSON schema of a type. Raises ValueError for a type that settings cannot have."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return {}
    if annotation in _JSON_TYPES:
        return {"type": _JSON_TYPES[annotation]}
    if origin is Annotated:
        known = {name: value for metadata in parts[1:] for name, value in metadata}
        return {**_schema_of(parts[0]), **{k: list(v) if isinstance(v, tuple) else v for k, v in known.items()}}
    if origin is Literal:
        return {"enum": list(parts)}
    if origin in (Union, UnionType) and len(members := [part for part in parts if part is not NoneType]) == 1:
        # None stands for a setting that is not written, so null is not allowed.
        return _schema_of(members[0])
    if origin is list:
        return {"type": "array", "items": _schema_of(parts[0])}
    if origin is dict and parts[0] is str:
        return {"type": "object", "additionalProperties": _schema_of(parts[1])}
    raise ValueError(
        f"{annotation} is not the type of a setting: use str, int, float, bool, Literal, list or dict"
    )


def _parse_docstring(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """Return the first line of a docstring, and its lines about settings by name."""
    text = inspect.getdoc(function) or ""
    _, _, part = text.partition("\nSettings:\n")
    described: dict[str, str] = {}
    for line in takewhile(lambda line: line.startswith("    "), part.splitlines()):
        if match := _SETTING_LINE.fullmatch(line):
            described[match[1]] = match[2]
        elif described:
            described[next(reversed(described))] += f" {line.strip()}"
    return text.partition("\n")[0], described


def _find_parameters(function: Callable[..., Any]) -> Iterator[tuple[Parameter, Any]]:
    """Yield each parameter that is a setting, with its annotation. Raises ValueError or NameError."""
    hints = get_type_hints(function, include_extras=True)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is Parameter.KEYWORD_ONLY:
            annotation = hints.get(parameter.name, Any)
            if NOT_A_SETTING not in getattr(annotation, "__metadata__", ()):
                yield parameter, annotation


def read_settings(function: Callable[..., Any]) -> Settings:
    """Return the settings of a function: its keyword-only parameters.

    Raises ValueError or NameError for an annotation that cannot be used, and TypeError if it is no function.
    """
    summary, described = _parse_docstring(function)
    properties, required = {}, []
    for parameter, annotation in _find_parameters(function):
        schema = {"description": "", **_schema_of(annotation)}
        schema["description"] = described.get(parameter.name) or schema["description"] or parameter.name
        if parameter.default is Parameter.empty:
            required.append(parameter.name)
        elif parameter.default is not None:
            schema["default"] = parameter.default
        properties[parameter.name] = schema
    return Settings(summary, properties, tuple(required), described)
