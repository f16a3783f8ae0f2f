"""Fill in the variables that `params` refer to as `{{ name }}`, before the spec is checked.

Params are the same for all rows: only the spec's `vars` can be used, and no filters. `{{ '{{' }}` gives braces.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from runner.errors import Problem
from runner.spec.schema_errors import suggest_similar
from runner.spec.yaml.document import Document, Path

_TAG = re.compile(r"\{\{(?P<inner>\s*(?:'[^']*'|\"[^\"]*\")\s*|.*?)\}\}|\{[{%]", re.DOTALL)


_INNER = re.compile(r"(?P<name>[^\W\d]\w*)(?P<steps>(?:\.\w+)*)|'(?P<single>[^'\\]*)'|\"(?P<double>[^\"\\]*)\"")


class _InvalidReference(Exception):
    """A reference that cannot be filled in; `offset` is its place in the text."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


def fill_params(
    document: Document, overrides: Mapping[str, str], path: str
) -> tuple[Document, list[tuple[Path, Problem]]]:
    """Return a document whose params have the values of its variables, and the mistakes, each with its path.

    `overrides` are the values of the command line. A text that is one reference alone becomes the value itself, so
    that it can be a number. A document whose params have no braces is returned as it is.
    """
    value = document.value
    if not isinstance(value, dict) or "params" not in value:
        return document, []
    declared = value.get("vars")
    vars = _override(declared if isinstance(declared, dict) else {}, overrides)
    problems: list[tuple[Path, Problem]] = []

    def fill(text: str, at: Path) -> Any:
        try:
            return _fill_text(text, vars)
        except _InvalidReference as error:
            line, column = document.positions[at]
            # Only in a block text, whose column is 0, is each line a line of the file.
            line += text.count("\n", 0, error.offset) if column == 0 else 0
            problems.append((at, Problem(path, f"{'.'.join(map(str, at))}: {error}", line, column)))
            return text

    for at, name in _find_names_with_braces(value["params"], ("params",)):
        line, column = document.positions[at]
        message = f"the name {name!r} cannot have variables: only values can"
        problems.append((at, Problem(path, f"{'.'.join(map(str, at[:-1]))}: {message}", line, column)))
    filled = _fill(value["params"], ("params",), fill)
    if filled is value["params"]:
        return document, problems
    return replace(document, value={**value, "params": filled}), problems


def _override(declared: Mapping[str, Any], overrides: Mapping[str, str]) -> dict[str, Any]:
    """Return the variables; a number or truth value given as text is read as what the spec has."""
    vars = dict(declared)
    for name, text in overrides.items():
        vars[name] = text
        if isinstance(declared.get(name), int | float):
            with suppress(ValueError):
                given = json.loads(text)
                vars[name] = given if isinstance(given, int | float) else text
    return vars


def _fill(value: Any, at: Path, fill: Callable[[str, Path], Any]) -> Any:
    """Return a value with all its texts filled in, and the same object if nothing changes."""
    if isinstance(value, str):
        return fill(value, at) if "{{" in value or "{%" in value else value
    if not isinstance(value, dict | list):
        return value
    items: Iterator[tuple[Any, Any]] = iter(value.items()) if isinstance(value, dict) else enumerate(value)
    filled = {name: _fill(item, (*at, name), fill) for name, item in items}
    if all(filled[name] is (value[name]) for name in filled):
        return value
    return filled if isinstance(value, dict) else list(filled.values())


def _find_names_with_braces(value: Any, at: Path) -> Iterator[tuple[Path, str]]:
    """Yield the place and the name of each key that is written like a reference: it would be sent as it is."""
    if isinstance(value, dict | list):
        items: Iterator[tuple[Any, Any]] = iter(value.items()) if isinstance(value, dict) else enumerate(value)
        for name, item in items:
            if isinstance(name, str) and _TAG.search(name):
                yield (*at, name), name
            yield from _find_names_with_braces(item, (*at, name))


def _fill_text(text: str, vars: Mapping[str, Any]) -> Any:
    first = _TAG.search(text)
    if first is not None and first[0] == text.strip():
        return _find_value(first, vars, first.start())
    return _TAG.sub(lambda found: _make_text(found, vars), text)


def _make_text(found: re.Match[str], vars: Mapping[str, Any]) -> str:
    value = _find_value(found, vars, found.start())
    if isinstance(value, dict | list) or value is None:
        message = f"{found[0]} is not a text or number: it can only stand alone, without other text"
        raise _InvalidReference(message, found.start())
    return value if isinstance(value, str) else json.dumps(value)


def _find_value(found: re.Match[str], vars: Mapping[str, Any], offset: int) -> Any:
    """Return the value of one `{{ … }}`. Raises _InvalidReference."""
    match = _INNER.fullmatch((found["inner"] or "").strip())
    if match is None:
        message = (
            f"{found[0]} cannot be used in params: only {{{{ name }}}} with a name under `vars`; "
            f"for the characters themselves write {{{{ '{found[0][:2]}' }}}}"
        )
        raise _InvalidReference(message, offset)
    if match["name"] is None:
        return match["single"] if match["single"] is not None else match["double"]
    value: Any = vars
    for step in (match["name"], *match["steps"].split(".")[1:]):
        if not isinstance(value, dict) or step not in value:
            known = suggest_similar(step, value if isinstance(value, dict) else ())
            message = f"{step!r} is not under `vars`, and params cannot use the fields of a row: {known}"
            raise _InvalidReference(message, offset)
        value = value[step]
    return value
