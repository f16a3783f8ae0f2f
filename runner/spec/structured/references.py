"""Follow the references of a JSON schema within the same document."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

DEFINITIONS = ("$defs", "definitions")
"""The keywords of a schema's definitions."""

_MAPS = (*DEFINITIONS, "properties", "patternProperties", "dependentSchemas")
_LISTS = ("anyOf", "allOf", "oneOf", "prefixItems")
_PARTS = (
    "items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames",
    "unevaluatedItems", "unevaluatedProperties",
)  # fmt: skip

STANDARD = frozenset((*_MAPS, *_LISTS, *_PARTS))
"""The keywords of JSON schema that hold parts."""


def list_parts(schema: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the path and the schema of each part of a schema; a schema that is no mapping has none."""
    if not isinstance(schema, dict):
        return
    for name in _MAPS:
        parts = schema.get(name)
        yield from (((name, key), part) for key, part in parts.items()) if isinstance(parts, dict) else ()
    for name in _LISTS:
        parts = schema.get(name)
        yield from (((name, str(at)), part) for at, part in enumerate(parts)) if isinstance(parts, list) else ()
    yield from (((name,), schema[name]) for name in _PARTS if name in schema)


def find_definition(reference: Any) -> tuple[str, str] | None:
    """Return the keyword and the name of a definition that a reference means, or None for other references."""
    steps = str(reference).split("/")
    if len(steps) != 3 or steps[0] != "#" or steps[1] not in DEFINITIONS or set(steps[2]) & {"~", "%"}:
        return None
    return steps[1], steps[2]


def _list_steps(reference: str) -> tuple[str, ...]:
    steps = reference.split("/")[1:]
    return tuple(unquote(step).replace("~1", "/").replace("~0", "~") for step in steps)


def resolve_reference(root: Mapping[str, Any], reference: Any) -> Any:
    """Return the part of a schema that a reference names; None if it is elsewhere or does not exist."""
    written = str(reference)
    if not written.startswith("#"):
        return None
    if written[1:] and not written.startswith("#/"):
        return _find_anchor(root, written[1:])
    part: Any = root
    for name in _list_steps(written):
        if isinstance(part, list):
            part = part[int(name)] if name.isdecimal() and int(name) < len(part) else None
        else:
            part = part.get(name) if isinstance(part, dict) else None
    return part


def _find_anchor(schema: Any, name: str) -> Any:
    if isinstance(schema, dict) and schema.get("$anchor") == name:
        return schema
    found = (_find_anchor(part, name) for _, part in list_parts(schema))
    return next((one for one in found if one is not None), None)


def list_all_parts(root: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the path and the schema of each part, the whole before its parts; each object once.

    Parts that only a reference names, such as `#/components/Order`, are among them.
    """
    waiting: list[tuple[tuple[str, ...], Any]] = [((), root)]
    seen = set[int]()
    while waiting:
        at, schema = waiting.pop()
        if not isinstance(schema, dict) or id(schema) in seen:
            continue
        seen.add(id(schema))
        yield at, schema
        inner = [((*at, *path), part) for path, part in list_parts(schema)]
        reference = str(schema.get("$ref", ""))
        if reference.startswith("#/"):
            inner.append((_list_steps(reference), resolve_reference(root, reference)))
        waiting.extend(reversed(inner))


def list_references(schema: Any) -> Iterator[str]:
    """Yield the references in a schema and its parts, but not in its definitions."""
    if not isinstance(schema, dict):
        return
    if "$ref" in schema:
        yield str(schema["$ref"])
    for path, part in list_parts(schema):
        if path[0] not in DEFINITIONS:
            yield from list_references(part)


def find_recursion(root: Mapping[str, Any]) -> Iterator[str]:
    """Yield the references to definitions that refer to themselves, directly or through others."""
    direct = {
        f"#/{keyword}/{name}": set(list_references(part))
        for keyword in DEFINITIONS
        for name, part in (root.get(keyword) or {}).items()
    }
    for target in direct:
        reached, new = set[str](), {target}
        while new:
            new = {one for found in new for one in direct.get(found, ())} - reached
            reached |= new
        if target in reached:
            yield target
