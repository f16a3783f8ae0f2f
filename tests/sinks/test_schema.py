"""The sinks of the code are those of the spec schema."""

import inspect
import json

import pytest

from runner.sinks.registry import SINKS
from runner.spec.schema_errors import schema_text

COMMON = {"type", "path", "url", "rows", "columns", "types", "overflow", "check", "name", "content"}


@pytest.mark.parametrize("type", sorted(SINKS))
def test_sink_options_match_the_function_parameters(type: str) -> None:
    branches = json.loads(schema_text())["properties"]["sinks"]["items"]["allOf"]
    found = {branch["if"]["properties"]["type"]["const"]: branch["then"]["properties"] for branch in branches}
    destination, columns, *options = inspect.signature(SINKS[type].function).parameters.values()
    assert [destination.name, columns.name] == ["destination", "columns"]
    assert {option.name for option in options} == set(found[type]) - COMMON
    assert all(option.kind is option.KEYWORD_ONLY for option in options)


def test_schema_lists_every_sink_and_its_defaults() -> None:
    sinks = json.loads(schema_text())["properties"]["sinks"]["items"]
    assert sorted(sinks["properties"]["type"]["enum"]) == sorted(SINKS)
    for branch in sinks["allOf"]:
        options = inspect.signature(SINKS[branch["if"]["properties"]["type"]["const"]].function).parameters
        described = branch["then"]["properties"]
        own = {name for name in set(described) - COMMON if name not in branch["then"]["required"]}
        assert {name: described[name]["default"] for name in own} == {name: options[name].default for name in own}
