"""Settings of a source or sink as JSON Schema, from the signature and the docstring of its function.

A setting is described by its line in the part `Settings:` of the docstring, or else by its type.
"""

import inspect
import json
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


def _read_keywords(metadata: Any) -> tuple[tuple[str, Any], ...]:
    """Return metadata of `Annotated` that `keywords` made. Raises ValueError for any other."""
    if isinstance(metadata, tuple) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in metadata):
        return metadata
    raise ValueError(f"cannot use the metadata {metadata!r} of Annotated: write keywords(...) instead")


def _schema_of(annotation: Any) -> dict[str, Any]:
    """Return the JSON schema of a type. Raises ValueError for a type that settings cannot have."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return {}
    if origin is Annotated:
        known = {name: value for metadata in parts[1:] for name, value in _read_keywords(metadata)}
        return {**_schema_of(parts[0]), **{k: list(v) if isinstance(v, tuple) else v for k, v in known.items()}}
    if annotation in _JSON_TYPES:
        return {"type": _JSON_TYPES[annotation]}
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


def _check_default(parameter: Parameter) -> None:
    try:
        json.dumps(parameter.default)
    except (TypeError, ValueError) as error:
        message = f"{parameter.name}: the default {parameter.default!r} is not a JSON value"
        raise ValueError(message) from error


def check_parameters(function: Callable[..., Any], *given: str) -> None:
    """Raise ValueError if a function does not take exactly the arguments `given` by position.

    Its other parameters must be keyword-only: a spec could not set them otherwise.
    """
    parameters = list(inspect.signature(function).parameters.values())
    own = [one for one in parameters if one.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)]
    settings = [one.name for one in own[len(given) :]]
    settings += [one.name for one in parameters if one.kind is Parameter.KEYWORD_ONLY]
    shown = ", ".join([*given, *(["*", *settings] if settings else [])])
    wanted = f"write its parameters as ({shown})"
    is_open = any(one.kind is Parameter.VAR_POSITIONAL for one in parameters)
    if len(own) < len(given) and not is_open:
        raise ValueError(f"the function must take {' and '.join(given)} by position: {wanted}")
    if len(own) > len(given):
        raise ValueError(f"`{own[len(given)].name}` is not a setting, because it is not keyword-only: {wanted}")


def read_settings(function: Callable[..., Any]) -> Settings:
    """Return the settings of a function: its keyword-only parameters.

    Raises ValueError or NameError for an annotation that cannot be used, and TypeError if it is no function.
    """
    summary, described = _parse_docstring(function)
    properties, required = {}, []
    for parameter, annotation in _find_parameters(function):
        try:
            schema = {"description": "", **_schema_of(annotation)}
        except ValueError as error:
            raise ValueError(f"{parameter.name}: {error}") from error
        schema["description"] = described.get(parameter.name) or schema["description"] or parameter.name
        if parameter.default is Parameter.empty:
            required.append(parameter.name)
        elif parameter.default is not None:
            schema["default"] = parameter.default
            _check_default(parameter)
        properties[parameter.name] = schema
    return Settings(summary, properties, tuple(required), described)
