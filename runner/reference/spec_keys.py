"""The part of the reference about specs: one section for each key, with an example and its settings."""

from collections.abc import Iterator, Mapping
from typing import Any

from runner.io_types.schema_variants import find_section
from runner.reference.examples import load_examples
from runner.reference.tables import flatten, settings_table
from runner.sinks.registry import SINKS
from runner.sources.registry import SOURCES

_PLACES = ("path", "url")


def _variants(part: Mapping[str, Any]) -> dict[str, Any]:
    return {one["if"]["properties"]["type"]["const"]: one["then"] for one in part["allOf"]}


def _own_settings(variant: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of one type that it does not share, except its `type`."""
    found = {name: one for name, one in variant["properties"].items() if one is not True}
    return {name: one for name, one in found.items() if name in _PLACES or one != shared.get(name)}


def _shared_settings(variants: Mapping[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """Return the shared settings except places; one that not all types have says which do."""
    found = {}
    for name, schema in shared.items():
        types = [kind for kind, one in variants.items() if one["properties"].get(name) == schema]
        only = f" Only for {', '.join(types)}." if len(types) < len(variants) else ""
        if name not in _PLACES:
            about, default, end = schema["description"].partition(" Default: ")
            found[name] = {**schema, "description": about + only + default + end}
    return found


def _describe_types(
    schema: Mapping[str, Any], section: str, noun: str, extras: Mapping[str, str]
) -> Iterator[str]:
    """Yield the settings that all types of a section share, then those of each type."""
    variants = _variants(find_section(schema, section))
    shared = schema["$defs"][f"{noun}_settings"]["properties"]
    yield f"Settings of every {noun}, besides its `type`:"
    yield settings_table(_shared_settings(variants, shared))
    for kind, variant in variants.items():
        extra = f" Needs `pip install 'message-batch-runner[{extras[kind]}]'`." if extras.get(kind) else ""
        yield f"#### {noun} `{kind}`"
        yield variant["description"] + extra
        yield settings_table(_own_settings(variant, shared), variant["required"])


def _describe_blocks(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the settings of each type of content block."""
    for kind, variant in _variants(schema["$defs"]["block"]).items():
        yield f"#### block `{kind}`"
        yield settings_table(_own_settings(variant, {}), variant.get("required", ()))


def _describe_key(schema: Mapping[str, Any], key: str) -> Iterator[str]:
    part = schema["properties"][key]
    is_required = key in schema["required"]
    if key == "source":
        extras = {name: kind.extra or kind.url_extra for name, kind in SOURCES.items()}
        yield from _describe_types(schema, key, "source", extras)
    elif key == "sinks":
        yield from _describe_types(schema, key, "sink", {name: kind.extra for name, kind in SINKS.items()})
    else:
        rows = [*flatten(part, f"{key}."), *flatten(part.get("items", {}), f"{key}[].")]
        settings = {key: part, **{name: one for name, one, _ in rows}}
        required = [name for name, _, is_needed in rows if is_needed] + ([key] if is_required else [])
        yield settings_table(settings, required)
    if key == "prompt":
        yield from _describe_blocks(schema)


def describe_spec(schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the paragraphs of the reference about the keys of a spec."""
    examples = load_examples()
    for key, part in schema["properties"].items():
        yield f"### `{key}`"
        if key in ("source", "sinks"):
            yield part["description"]
        yield f"```yaml\n{examples[key]}```"
        yield from _describe_key(schema, key)
