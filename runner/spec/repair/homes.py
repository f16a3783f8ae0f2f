"""Find the section of a spec that a key at the wrong level belongs to."""

from collections.abc import Iterator, Mapping
from typing import Any

TOP_LEVEL = ""
"""The home of keys such as `mode`, which belong to no section."""

PARAM_NAMES = (
    "cache_control", "container", "inference_geo", "max_tokens", "mcp_servers", "metadata", "model",
    "output_config", "service_tier", "stop_sequences", "thinking", "tool_choice", "tools", "temperature", "top_p",
    "top_k",
)  # fmt: skip
"""Parameters of a request, which `params` passes on."""

_SECTIONS = ("prompt", "output", "batch", "retry", "limits", "sync", "source")


def _list_keys(schema: Mapping[str, Any], section: str) -> Iterator[str]:
    """Yield the keys of a section; those of a source depend on its type."""
    part = schema["properties"][section]
    yield from part.get("properties", ())
    for variant in part.get("allOf", ()):
        yield from variant["then"].get("properties", ())


def find_home(schema: Mapping[str, Any], at: tuple[str | int, ...], key: str) -> str | None:
    """Return the section that a key belongs to, which is unknown at the path `at`, or None.

    `schema` is the JSON schema of a spec. A key that several sections have has no certain home.
    """
    if len(at) > 1 or at == ("sinks",):
        return None
    if at and key in schema["properties"]:
        return TOP_LEVEL
    here = str(at[0]) if at else TOP_LEVEL
    homes = [name for name in _SECTIONS if name != here and key in _list_keys(schema, name)]
    homes += ["params"] if here != "params" and key in PARAM_NAMES else []
    return homes[0] if len(homes) == 1 else None
