"""Validate a document against the JSON schema of a spec; report all mistakes with place and remedy."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any

from runner.errors import InputError, Problem
from runner.io_types.plugins import add_plugins
from runner.spec.json_schema import SchemaError, find_errors, find_fault
from runner.spec.meant_value import suggest_value
from runner.spec.redact import redact_passwords
from runner.spec.repair.homes import TOP_LEVEL, find_home
from runner.spec.structured.references import STANDARD, list_all_parts
from runner.spec.yaml.document import Document, Path, may_be_secret

_TYPE_NAMES = {
    "string": "text",
    "object": "a mapping",
    "array": "a list",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "empty",
}


_MAX_SHOWN = 200
"""Most characters of a text that a message shows."""


_FORMS: dict[Path, str] = {
    ("source",): "source: {type: csv, path: rows.csv, key: id}",
    ("prompt",): 'prompt: {user: "{{ text }}"}',
    ("params",): "params: {model: claude-haiku-4-5, max_tokens: 500}",
    ("output", "checks"): "checks: [{check: output.total > 0, message: the total is 0}]",
    ("sinks",): "sinks: [{type: csv, path: out/rows.csv}]",
}
"""Examples of the parts of a spec that are most often given as a text."""


_CERTAIN = 0.75
"""The similarity from which a misspelled key is certainly meant to be another one."""


_PERCENT = 100


_LIMIT_PHRASES = {
    "minimum": "be at least",
    "exclusiveMinimum": "be more than",
    "maximum": "be at most",
    "minLength": "have at least this many characters:",
    "maxLength": "have at most this many characters:",
    "minItems": "have at least this many items:",
    "minProperties": "have at least this many entries:",
}


@cache
def schema_text() -> str:
    """Return the JSON schema of a spec, as text."""
    return files("runner.spec").joinpath("schema.json").read_text("utf-8")


def describe_value(value: object) -> str:
    """Describe a value for a message; text is marked as text, so that it is not mistaken for a number."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "an empty value"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    if not isinstance(value, str):
        return repr(value)
    text = redact_passwords(value)
    return f"the text {text if len(text) <= _MAX_SHOWN else f'{text[:_MAX_SHOWN]}…'!r}"


def suggest_similar(word: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown word: the nearest known word, or else all of them."""
    known = list(known)
    near = get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"expected one of: {', '.join(known)}" if known else "none are available"


def _format_path(path: Path) -> str:
    return ".".join(str(part) for part in path) or "the spec"


def _type_message(error: SchemaError) -> str:
    wanted = error.limit if isinstance(error.limit, list) else [error.limit]
    kinds = " or ".join(_TYPE_NAMES[kind] for kind in wanted)
    form = suggest_value(error.instance, wanted, error.schema)
    if error.path in _FORMS:
        form = f": write it like `{_FORMS[error.path]}`"
    is_hidden = may_be_secret(error.path) and not isinstance(error.instance, dict | list)
    return f"must be {kinds}" if is_hidden else f"must be {kinds}, not {describe_value(error.instance)}{form}"


def _error_message(error: SchemaError) -> str:
    where, limit = _format_path(error.path), error.limit
    match error.keyword:
        case "type":
            return f"{where} {_type_message(error)}"
        case "enum":
            known, reasons = [str(value) for value in limit], error.schema.get("valueErrorMessages", {})
            reason = reasons.get(str(error.instance)) or suggest_similar(str(error.instance), known)
            return f"{where} is {describe_value(error.instance)}: {reason}"
        case "const":
            return f"{where} must be {limit!r}, not {describe_value(error.instance)}"
        case "pattern":
            subject = f"{where} is {describe_value(error.instance)}"
            if error.is_key:
                subject = f"{where}: the key {error.instance!r}"
            elif may_be_secret(error.path):
                # An invalid URL may itself be a password, so it is not shown.
                subject = f"{where} is not valid" if error.path[-1] != "url" else f"{where} is not a valid URL"
            return f"{subject}: {error.schema.get('patternErrorMessage', f'expected text that matches {limit}')}"
        case "anyOf":
            return f"{where} needs `user` or `messages`"
        case "uniqueItems":
            return f"{where} has a duplicate item"
        case "not":
            return f"{where} is not allowed here: it comes from `prompt`"
        case "maximum" if limit == 1 and 2 <= error.instance <= _PERCENT:
            return f"{where} must be at most 1: write {error.instance / _PERCENT:g} for {error.instance:g} %"
        case name:
            return f"{where} must {_LIMIT_PHRASES.get(name, f'satisfy {name}:')} {limit}"


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake in the value at a path of a document.

    An unknown key `belongs` to another path, if that is certain.
    """

    problem: Problem
    at: Path
    belongs: Path | None = None
    is_unknown: bool = False
    is_missing: bool = False


def _report_unknown(error: SchemaError, document: Document, path: str) -> Iterator[Mistake]:
    """Yield a mistake for each key that the schema does not have, with the place where it belongs."""
    known = error.schema["properties"]
    for key in (key for key in error.instance if key not in known):
        at = (*error.path, key)
        home = find_home(json.loads(schema_text()), error.path, key)
        near = get_close_matches(key, known, n=1, cutoff=_CERTAIN)
        remedy = suggest_similar(key, known)
        belongs: Path | None = (*error.path, near[0]) if near else None
        if home is not None:
            belongs = (key,) if home == TOP_LEVEL else (home, key)
            remedy = "it belongs at the top level" if home == TOP_LEVEL else f"it belongs under `{home}`"
        message = f"unknown key {key!r} in {_format_path(error.path)}: {remedy}"
        problem = Problem(path, message, *document.keys.get(at, (0, 0)), remedy)
        yield Mistake(problem, at, belongs, is_unknown=True)


def _report_missing(error: SchemaError, document: Document, path: str) -> Iterator[Mistake]:
    where, place = _format_path(error.path), document.positions.get(error.path, (0, 0))
    for key in (key for key in error.limit if key not in error.instance):
        at = (*error.path, key)
        remedy = f"add `{key}`" if error.path else f"add `{key}:` at the top level"
        yield Mistake(Problem(path, f"{where} needs the key {key!r}", *place, remedy), at, is_missing=True)


def _report_invalid(error: SchemaError, document: Document, path: str) -> Mistake:
    places = {**document.keys, (): (1, 1)} if error.is_key else document.positions
    at = (*error.path, error.instance) if error.is_key else error.path
    return Mistake(Problem(path, _error_message(error), *places.get(at, (0, 0))), at)


def _to_mistakes(errors: Sequence[SchemaError], document: Document, path: str) -> Iterator[Mistake]:
    unknown = [one for one in errors if one.keyword == "additionalProperties"]
    misplaced = [mistake for error in unknown for mistake in _report_unknown(error, document, path)]
    yield from misplaced
    guessed = {mistake.belongs for mistake in misplaced}
    for error in errors:
        if error.keyword == "required":
            missing = _report_missing(error, document, path)
            yield from (one for one in missing if one.at not in guessed)
        elif error.keyword != "additionalProperties":
            yield _report_invalid(error, document, path)


def find_mistakes(document: Document, *, path: str) -> list[Mistake]:
    """Return all violations of the JSON schema of a spec, in the order of its lines; `path` names the file."""
    schema = json.loads(schema_text())
    unusable = add_plugins(schema, document.value, find_schema_error)
    found = {
        message: Mistake(Problem(path, message, *document.positions.get(at, (0, 0))), at)
        for at, message in unusable
    }
    errors = find_errors(schema, document.value)
    found |= {str(one.problem): one for one in _to_mistakes(errors, document, path)}
    return sorted(found.values(), key=lambda one: (one.problem.line, one.problem.column, one.problem.message))


def check_document(document: Document, *, path: str) -> None:
    """Raise InputError with all violations of the JSON schema of a spec; `path` names the file."""
    if mistakes := find_mistakes(document, path=path):
        raise InputError([mistake.problem for mistake in mistakes])


def find_schema_mistake(schema: object) -> tuple[str, Path] | None:
    """Return why a value is not a JSON schema of draft 2020-12, and the path of the part at fault, or None."""
    if not isinstance(schema, dict):
        return f"a JSON schema must be an object, not {describe_value(schema)}", ()
    mistake = _find_mistake_in(schema)
    if mistake is not None:
        return mistake
    # The schema of schemas does not look into keywords that it does not know, such as `components` of OpenAPI.
    checked = set[tuple[str, ...]]()
    for at, part in list_all_parts(schema):
        if not at or at[0] in STANDARD or any(at[:length] in checked for length in range(len(at))):
            continue
        checked.add(at)
        if (mistake := _find_mistake_in(part, _find_steps(schema, at))) is not None:
            return mistake
    return None


def _find_steps(schema: Any, at: Sequence[str]) -> Path:
    """Return the steps to a part of a schema, with numbers for the items of lists."""
    steps: list[str | int] = []
    for step in at:
        steps.append(int(step) if isinstance(schema, list) else step)
        schema = schema[steps[-1]]
    return tuple(steps)


def _find_mistake_in(schema: dict[str, Any], at: Path = ()) -> tuple[str, Path] | None:
    fault = find_fault(schema)
    if fault is None:
        return None
    path, wrong = (*at, *fault.path), fault.instance
    place = ".".join(map(str, path)) or "the top level"
    message = f"not a valid JSON schema: at {place}: {fault.message}"
    if path[-1:] == ("type",) and isinstance(wrong, str):
        message = f"{message}: {suggest_similar(str(wrong), _TYPE_NAMES)}"
    elif isinstance(wrong, bool) and path[-1:] in (("exclusiveMinimum",), ("exclusiveMaximum",)):
        plain = str(path[-1]).removeprefix("exclusive").lower()
        message += f": write `{path[-1]}` with the number of `{plain}`, instead" if wrong else ": remove it"
    return message, path


def find_schema_error(schema: object) -> str | None:
    """Return why a value is not a JSON schema of draft 2020-12, or None if it is one."""
    found = find_schema_mistake(schema)
    return None if found is None else found[0]
