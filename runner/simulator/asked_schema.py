"""Read what a request says in words about its answer, as a model does, so that simulated answers keep to it."""

from collections.abc import Mapping
from typing import Any

import msgspec


def read_description(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a schema with the constraints that its description ends with as a JSON object."""
    text = schema.get("description")
    if not isinstance(text, str) or not text.endswith("}"):
        return schema
    written = text.rpartition("\n\n")[2]
    try:
        noted = msgspec.json.decode(written, type=dict[str, Any])
    except msgspec.DecodeError:
        return schema
    # The items that are sent of a tuple are those of all its places.
    items = {"items": noted["items"]} if noted.keys() >= {"prefixItems", "items"} else {}
    return {**noted, **schema, **items}


def find_stated_schema(system: Any) -> bytes | None:
    """Return the JSON schema at the end of a system prompt, or None."""
    if isinstance(system, list) and system:
        system = system[-1].get("text") if isinstance(system[-1], dict) else None
    if not isinstance(system, str):
        return None
    _, found, written = system.rpartition("JSON schema:\n")
    try:
        return msgspec.json.encode(msgspec.json.decode(written, type=dict[str, Any])) if found else None
    except msgspec.DecodeError:
        return None
