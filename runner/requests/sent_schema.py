"""The output schema as it is sent: with the `additionalProperties: false` that structured outputs require."""

from collections.abc import Iterator
from typing import Any

_MAPS, _LISTS = ("properties", "$defs", "definitions"), ("anyOf", "oneOf")


def _list_parts(schema: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the path and the schema of each part that can be closed on its own: not those of `allOf`."""
    for name in _MAPS:
        parts = schema.get(name)
        yield from (((name, key), part) for key, part in parts.items()) if isinstance(parts, dict) else ()
    for name in _LISTS:
        parts = schema.get(name)
        yield from (((name, str(at)), part) for at, part in enumerate(parts)) if isinstance(parts, list) else ()
    if "items" in schema:
        yield ("items",), schema["items"]


def _is_open(schema: dict[str, Any]) -> bool:
    """Return whether a schema describes objects, and does not say if they may have other properties."""
    kinds = schema.get("type")
    is_object = "object" in (kinds if isinstance(kinds, list) else [kinds]) or "properties" in schema
    return is_object and not schema.keys() & {"additionalProperties", "allOf", "patternProperties"}


def find_open_objects(schema: Any, at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the paths of the objects that `close_objects` closes."""
    if not isinstance(schema, dict):
        return
    if _is_open(schema):
        yield at
    for path, part in _list_parts(schema):
        yield from find_open_objects(part, (*at, *path))


def close_objects(schema: Any) -> Any:
    """Return a schema whose objects have `additionalProperties: false`, unless they say something else."""
    if not isinstance(schema, dict):
        return schema
    closed = dict(schema)
    for name in _MAPS:
        if isinstance(parts := schema.get(name), dict):
            closed[name] = {key: close_objects(part) for key, part in parts.items()}
    for name in _LISTS:
        if isinstance(parts := schema.get(name), list):
            closed[name] = [close_objects(part) for part in parts]
    if "items" in schema:
        closed["items"] = close_objects(schema["items"])
    return {**closed, "additionalProperties": False} if _is_open(schema) else closed
