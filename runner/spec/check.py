"""A document held against the spec's JSON schema: every mistake at once, each with its place and a remedy."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema

from runner.errors import InputError, Problem
from runner.spec.document import Document, Path
from runner.spec.secrets import without_password

_TYPES = {
    "string": "text",
    "object": "a mapping",
    "array": "a list",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "empty",
}
_PATTERNS = {
    "name": "a name is 1 to 32 of a-z 0-9 _ -, beginning with a letter",
    "delimiter": "a delimiter is one character, and no quote or line break",
    "max_bytes": "a size is a number of bytes, or written as 64KB or 200MB",
    "tool": "a tool's name is 1 to 128 of A-Z a-z 0-9 _ -",
    "deadline": "a time span is written as 90m, 6h or 2d",
    "sheet": "the name of a sheet has none of [ ] : * ? / \\",
    "url": "the URL of a database is written as postgresql://user@host/name",
    "types": "a type is string, integer, number, boolean, date, timestamp, json or decimal(precision,scale)",
    "vars": "a variable's name is letters, digits and _, not beginning with a digit",
}
_BASE = jsonschema.Draft202012Validator


def _whole_pattern(_: Any, pattern: str, value: object, __: Any) -> Iterator[jsonschema.ValidationError]:
    # Python's `$` also matches before a line feed at the end.
    if isinstance(value, str) and not re.fullmatch(pattern.removesuffix("$"), value):
        yield jsonschema.ValidationError("no match")


# A count is written as one: 1e4 is a float, and would be sent as 10000.0.
_Strict = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    _BASE,
    {"pattern": _whole_pattern},
    type_checker=_BASE.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int),
)
_LIMITS = {
    "minimum": "be at least",
    "exclusiveMinimum": "be more than",
    "maximum": "be at most",
    "minLength": "not be shorter than",
    "maxLength": "not be longer than",
    "minItems": "not have fewer items than",
    "minProperties": "not have fewer entries than",
}


@cache
def schema_text() -> str:
    """The JSON schema of a spec, as text."""
    return files("runner.spec").joinpath("schema.json").read_text("utf-8")


def describe(value: object) -> str:
    """A value as a person reads it in a message, with its kind where that could surprise."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "empty"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return f"the text {without_password(value)!r}" if isinstance(value, str) else repr(value)


def suggest(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown word: the nearest known one, or all of them."""
    known = list(known)
    near = get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"expected one of: {', '.join(known)}" if known else "there are none"


@dataclass(frozen=True, slots=True)
class _Error:
    """What is used of a jsonschema error: the keyword, its value, the value it failed on, and places."""

    keyword: str
    limit: Any
    instance: Any
    schema: Mapping[str, Any]
    at: Path
    is_key: bool

    @classmethod
    def of(cls, error: Any) -> "_Error":
        is_key = "propertyNames" in error.absolute_schema_path
        at = tuple(error.absolute_path)
        return cls(error.validator, error.validator_value, error.instance, error.schema, at, is_key)


def _where(path: Path) -> str:
    return ".".join(str(part) for part in path) or "the spec"


def _type_message(error: _Error) -> str:
    wanted = error.limit if isinstance(error.limit, list) else [error.limit]
    kinds = " or ".join(_TYPES[kind] for kind in wanted)
    return f"must be {kinds}, not {describe(error.instance)}"


def _message(error: _Error) -> str:
    where, limit = _where(error.at), error.limit
    match error.keyword:
        case "type":
            return f"{where} {_type_message(error)}"
        case "enum":
            known = [str(value) for value in limit]
            return f"{where} is {describe(error.instance)}: {suggest(str(error.instance), known)}"
        case "const":
            return f"{where} must be {limit!r}, not {describe(error.instance)}"
        case "pattern":
            subject = f"{where} is {describe(error.instance)}"
            if error.is_key:
                subject = f"{where}: the key {error.instance!r}"
            elif error.at[-1] == "url":
                # What is no URL may be a password.
                subject = f"{where} is no URL"
            return f"{subject}: {_PATTERNS.get(str(error.at[-1])) or _PATTERNS[str(error.at[-2])]}"
        case "anyOf":
            return f"{where} needs `user` or `messages`"
        case "uniqueItems":
            return f"{where} names one thing twice"
        case "not":
            return f"{where} is not a parameter here: it comes from `prompt`"
        case name:
            return f"{where} must {_LIMITS[name]} {limit}"


def _problems(errors: Iterable[_Error], document: Document, path: str) -> Iterator[Problem]:
    guessed: set[Path] = set()
    missing: set[Path] = set()
    for error in errors:
        at = error.at
        if error.keyword == "additionalProperties":
            known = error.schema["properties"]
            for key in (key for key in error.instance if key not in known):
                guessed |= {(*at, near) for near in get_close_matches(key, known, n=1, cutoff=0.6)}
                message = f"unknown key {key!r} in {_where(at)}: {suggest(key, known)}"
                yield Problem(path, message, *document.keys[(*at, key)])
        elif error.keyword == "required":
            missing |= {(*at, key) for key in error.limit if key not in error.instance}
        else:
            places = {**document.keys, (): (1, 1)} if error.is_key else document.places
            place = places.get((*at, error.instance) if error.is_key else at, (0, 0))
            yield Problem(path, _message(error), *place)
    for key_path in missing - guessed:
        message = f"{_where(key_path[:-1])} needs the key {key_path[-1]!r}"
        yield Problem(path, message, *document.places[key_path[:-1]])


def check(document: Document, *, path: str) -> None:
    """Raise InputError with every way in which the document is not a spec; `path` names its file."""
    validator = _Strict(json.loads(schema_text()))
    errors = [_Error.of(error) for error in validator.iter_errors(document.value)]
    problems = sorted(set(_problems(errors, document, path)), key=lambda p: (p.line, p.column, p.message))
    if problems:
        raise InputError(problems)


def schema_mistake(schema: object) -> str | None:
    """What makes a value no JSON schema of draft 2020-12, or None."""
    if not isinstance(schema, dict):
        return f"a JSON schema is an object, not {describe(schema)}"
    try:
        _BASE.check_schema(schema)
    except jsonschema.SchemaError as error:
        place = ".".join(str(part) for part in error.absolute_path) or "the top level"
        return f"not a JSON schema: at {place}: {error.message}"
    return None
