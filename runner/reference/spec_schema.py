"""The JSON schema of specs: the parts written by hand, examples, and a variant for each type."""

import json
from typing import Any

from runner.io_types.schema_variants import build_sink_variant, build_source_variant, set_variants
from runner.reference.examples import load_examples, parse_example
from runner.sinks.registry import SINKS
from runner.sources.registry import SOURCES
from runner.spec.schema_errors import schema_text


def build_schema() -> dict[str, Any]:
    """Return the schema, with its generated parts computed from the functions of the types."""
    schema: dict[str, Any] = json.loads(schema_text())
    set_variants(schema, "source", SOURCES, build_source_variant)
    set_variants(schema, "sinks", SINKS, build_sink_variant)
    for key, text in load_examples().items():
        schema["properties"][key]["examples"] = [parse_example(text)[key]]
    return schema


def format_schema(schema: dict[str, Any]) -> str:
    """Return the text of schema.json."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
