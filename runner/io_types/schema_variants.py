"""The parts of the JSON schema of specs that follow from the types of sources and sinks."""

from collections.abc import Callable, Mapping
from typing import Any

from runner.io_types.settings import Settings, check_parameters, read_settings
from runner.io_types.types import DESTINATIONS, SinkType, SourceType

Variant = dict[str, Any]


def _build_variant(name: str, summary: str, properties: dict[str, Any], required: list[str]) -> Variant:
    return {
        "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
        "then": {
            "description": summary,
            "properties": {"type": True, **properties},
            "required": required,
            "additionalProperties": False,
        },
    }


def build_source_variant(name: str, kind: SourceType, schema: Mapping[str, Any]) -> Variant:
    """Return the variant of a type of source: its place, key and own settings, then those that select rows."""
    check_parameters(kind.function, "inputs")
    own = read_settings(kind.function)
    shared = schema["$defs"]["source_settings"]["properties"]
    places: dict[str, Any] = {place: own.properties[place] for place in ("path", "url") if place in own.properties}
    return _build_variant(
        name, own.summary, {**places, "key": shared["key"], **own.properties, **shared}, list(own.required)
    )


def build_sink_variant(name: str, kind: SinkType, schema: Mapping[str, Any]) -> Variant:
    """Return the variant of a type of sink: its place, the settings that it shares, then its own."""
    check_parameters(kind.function, "destination", "columns")
    if kind.expressions is not None:
        check_parameters(kind.expressions)
    own = read_settings(kind.function)
    columns = read_settings(kind.expressions) if kind.expressions is not None else Settings("", {}, (), {})
    described = {**own.described, **columns.described}
    shared = {
        name: {**part, "description": described.get(name, part["description"])}
        for name, part in schema["$defs"]["sink_settings"]["properties"].items()
    }
    places = {place: shared[place] for place in kind.destinations}
    if other := set(DESTINATIONS).difference(places).intersection(own.properties):
        raise ValueError(f"the setting `{min(other)}` names a place: add it to the destinations of the SinkType")
    names = ["rows", *(() if kind.expressions else ("columns",)), *(("types",) if kind.is_typed else ())]
    names += ["overflow"] if kind.can_overflow else []
    names += ["check"] if "url" not in kind.destinations else []
    properties = {**places, **{name: shared[name] for name in names}, **columns.properties, **own.properties}
    # Of several places, a sink sets exactly one: `check_cross_fields` sees to it.
    required = [*(places if len(places) == 1 else ()), *columns.required, *own.required]
    return _build_variant(name, own.summary, properties, required)


def find_section(schema: Mapping[str, Any], section: str) -> Any:
    """Return the part of the schema that holds the variants of the section `source` or `sinks`."""
    part = schema["properties"][section]
    return part["items"] if section == "sinks" else part


def set_variants(
    schema: Mapping[str, Any], section: str, kinds: Mapping[str, Any], build: Callable[..., Variant]
) -> None:
    """Replace the variants of a section, and the list of its types, by those of `kinds`."""
    part = find_section(schema, section)
    part["allOf"] = [build(name, kind, schema) for name, kind in kinds.items()]
    lines = [f"{one['if']['properties']['type']['const']}: {one['then']['description']}" for one in part["allOf"]]
    part["properties"]["type"] = {
        "description": " ".join([f"Type of the {section.removesuffix('s')}.", *lines]),
        "enum": list(kinds),
    }
