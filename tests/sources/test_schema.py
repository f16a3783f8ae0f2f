"""The sources of the code are those of the spec schema."""

import inspect
import json
from typing import Any

import pytest

from runner.sources.registry import SOURCES
from runner.spec.schema_errors import schema_text

SOURCE_SCHEMA = json.loads(schema_text())["properties"]["source"]
CHOICE = {"columns", "types", "where", "sample", "seed", "limit"}
OFFERED = {
    branch["if"]["properties"]["type"]["const"]: branch["then"]["properties"].keys() - {"type", "key", *CHOICE}
    for branch in SOURCE_SCHEMA["allOf"]
}


@pytest.mark.parametrize("type", SOURCES)
def test_source_parameters_match_the_schema(type: str) -> None:
    inputs, *settings = inspect.signature(SOURCES[type].function).parameters.values()
    # Where a run source reads is known from the spec that it names; a Python program gives rows.
    given = {"run": {"path"}, "rows": {"given"}}.get(type, set())
    assert {p.name for p in settings} - given == OFFERED[type]
    assert {p.kind for p in settings} == {inspect.Parameter.KEYWORD_ONLY}
    assert inputs.name == "inputs"


def test_schema_lists_every_source() -> None:
    assert list(SOURCES) == SOURCE_SCHEMA["properties"]["type"]["enum"]
    assert set(SOURCES) == set(OFFERED)


@pytest.mark.parametrize("branch", SOURCE_SCHEMA["allOf"], ids=lambda b: b["if"]["properties"]["type"]["const"])
def test_source_defaults_match_the_schema(branch: dict[str, Any]) -> None:
    parameters = inspect.signature(SOURCES[branch["if"]["properties"]["type"]["const"]].function).parameters
    defaults = {p.name: p.default for p in parameters.values() if p.default not in (inspect.Parameter.empty, None)}
    offered = {name: schema for name, schema in branch["then"]["properties"].items() if schema is not True}
    assert defaults == {
        name: schema["default"] for name, schema in offered.items() if "default" in schema and name not in CHOICE
    }
