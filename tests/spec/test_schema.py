"""The JSON schema of spec files agrees with the code and with itself."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jsonschema

from tests.support.projects import SPEC_SCHEMA, load_lines


def subschemas(schema: Any, at: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        yield at, schema
    items = schema.items() if isinstance(schema, dict) else enumerate(schema) if isinstance(schema, list) else ()
    for name, value in items:
        yield from subschemas(value, f"{at}/{name}")


def test_spec_defaults_match_the_schema(project: Path) -> None:
    spec = load_lines(project, "retry: {}")
    stated = {name: p["default"] for name, p in SPEC_SCHEMA["properties"]["batch"]["properties"].items()}
    assert load_lines(project, f"batch: {json.dumps(stated)}").batch == spec.batch
    stated = {name: p["default"] for name, p in SPEC_SCHEMA["properties"]["retry"]["properties"].items()}
    assert json.loads(json.dumps(asdict(spec.retry))) == stated


def test_the_spec_schema_is_a_valid_schema_of_draft_2020_12() -> None:
    assert SPEC_SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(SPEC_SCHEMA)


def test_spec_schema_does_not_use_one_of() -> None:
    assert [at for at, schema in subschemas(SPEC_SCHEMA) if "oneOf" in schema] == []


def test_every_property_of_the_spec_schema_has_a_description() -> None:
    found = {
        f"{at}/{name}": value
        for at, schema in subschemas(SPEC_SCHEMA)
        if not at.endswith(("/properties", "/if"))
        for name, value in schema.get("properties", {}).items()
    }
    bare = [at for at, value in found.items() if value is not True and not value.get("description")]
    assert len(found) > 40
    assert bare == []


def test_every_stated_default_satisfies_its_own_schema() -> None:
    defaults = [(at, schema) for at, schema in subschemas(SPEC_SCHEMA) if "default" in schema]
    wrong = [
        at for at, schema in defaults if not jsonschema.Draft202012Validator(schema).is_valid(schema["default"])
    ]
    assert len(defaults) >= 6
    assert wrong == []
