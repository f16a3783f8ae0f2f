"""Markdown tables for settings, from their JSON schemas: key, type, default and meaning."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

MAX_WORDS = 20
"""The most words in a cell: what does not fit follows the table as a note."""


_TYPE_NAMES = {
    "string": "text",
    "object": "mapping",
    "array": "list",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
}


_DEFAULT = re.compile(r" ?\bDefault: (.+)\.$")


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a Markdown table, with its pipes and line breaks escaped."""
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in lines
    )


def _code(value: Any) -> str:
    """Return a value as YAML writes it, in backticks."""
    is_plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_][\w.-]*", value)
    return f"`{value if is_plain else json.dumps(value, ensure_ascii=False)}`"


def _describe_bounds(schema: Mapping[str, Any]) -> str:
    least, most = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum")
    if least is None:
        return ""
    words = "more than" if "exclusiveMinimum" in schema else "at least" if most is None else "from"
    return f", {words} {least:,}" + (f" to {most:,}" if most is not None else "")


def describe_type(schema: Mapping[str, Any]) -> str:
    """Return the type of a setting in words."""
    if "const" in schema:
        return _code(schema["const"])
    if "enum" in schema:
        return ", ".join(map(_code, schema["enum"]))
    if "type" not in schema:
        return "any"
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    items = schema.get("items", {})
    of = f" of {describe_type(items)}" if kinds == ["array"] and not {"properties", "$ref"} & items.keys() else ""
    return " or ".join(_TYPE_NAMES[kind] for kind in kinds) + of + _describe_bounds(schema)


def split_description(text: str) -> tuple[str, str, str]:
    """Return the sentences that fit into a cell, the default in words, and the other sentences."""
    match = _DEFAULT.search(text)
    sentences = (text[: match.start()] if match else text).replace(". ", ".\n").split("\n")
    count = 1
    while count < len(sentences) and len(" ".join(sentences[: count + 1]).split()) <= MAX_WORDS:
        # Sentences such as `batch: half price.`, one for each value, stay together.
        if sentences[count][0].islower():
            break
        count += 1
    return " ".join(sentences[:count]), match[1] if match else "", " ".join(sentences[count:])


def settings_table(settings: Mapping[str, Mapping[str, Any]], required: Iterable[str] = ()) -> str:
    """Return the table of settings by their dotted names, and the notes that do not fit into it."""
    rows, notes = [], []
    for name, schema in settings.items():
        meaning, default, rest = split_description(schema["description"])
        if name in required:
            default = "required"
        elif "default" in schema:
            default = _code(schema["default"])
        rows.append((f"`{name}`", describe_type(schema), default or "none", meaning))
        if rest:
            notes.append(f"- `{name}`: {rest}")
    shown = table(("key", "type", "default", "meaning"), rows)
    return shown + ("\n\n" + "\n".join(notes) if notes else "")


def flatten(schema: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Mapping[str, Any], bool]]:
    """Yield (dotted name, schema, is required) of each setting below a mapping or a list of mappings."""
    for name, part in schema.get("properties", {}).items():
        if part is True or "not" in part:
            continue
        yield f"{at}{name}", part, name in schema.get("required", ())
        yield from flatten(part, f"{at}{name}.")
        yield from flatten(part.get("items", {}), f"{at}{name}[].")
