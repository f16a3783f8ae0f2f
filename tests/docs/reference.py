"""Write the reference of spec files from their JSON schema: `python -m tests.docs.reference > specs/README.md`."""

import json
from collections.abc import Iterator
from typing import Any

from runner.spec.schema_errors import schema_text

INTRODUCTION = """\
# Reference of a spec

Generated from the JSON schema that `runner schema` prints. Editors use the schema to complete and check a spec:
start the file with `# yaml-language-server: $schema=` and the path of the schema. The jobs in this folder are
complete examples.

Paths are relative to the project folder: the nearest folder above the spec that holds `prompts/` or `.runner/`, or
else the spec's own folder. `${env:NAME}` in a value is replaced by that environment variable.
"""


def _kind(schema: dict[str, Any]) -> str:
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kinds = schema.get("type", "any")
    return " or ".join(kinds) if isinstance(kinds, list) else str(kinds)


SCHEMA: dict[str, Any] = json.loads(schema_text())


def _items(part: dict[str, Any]) -> dict[str, Any]:
    """The schema of the items of a list, its reference followed."""
    items: dict[str, Any] = part.get("items", {})
    return SCHEMA["$defs"][items["$ref"].rpartition("/")[2]] if "$ref" in items else items


def _rows(schema: dict[str, Any], at: str) -> Iterator[str]:
    """One table row for each property, those of lists and of variants included."""
    required = schema.get("required", ())
    for name, part in schema.get("properties", {}).items():
        if part is True or "not" in part:
            continue
        mark = " (required)" if name in required else ""
        yield f"| `{at}{name}`{mark} | {_kind(part)} | {part['description']} |"
        yield from _rows(part, f"{at}{name}.")
        items = _items(part)
        if "properties" in items:
            yield from _rows(items, f"{at}{name}[].")
        for variant in (*part.get("allOf", ()), *items.get("allOf", ())):
            type_name = variant["if"]["properties"]["type"]["const"]
            suffix = "[]" if "items" in part else ""
            yield from _rows(variant["then"], f"{at}{name}{suffix}<{type_name}>.")


def reference() -> str:
    """The whole page, as Markdown."""
    table = "\n".join(_rows(SCHEMA, ""))
    return f"{INTRODUCTION}\n| key | value | meaning |\n|---|---|---|\n{table}\n"


if __name__ == "__main__":
    print(reference(), end="")
