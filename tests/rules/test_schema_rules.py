"""Limits of sent schemas are those of structured outputs and of the SDK."""

import json
from pathlib import Path
from typing import Any

import pytest
from anthropic import transform_schema
from anthropic.lib._parse._transform import SupportedStringFormats

from runner import load_spec
from runner.rules.finding import Finding
from runner.rules.run import run_rules
from runner.spec.structured.supported import CONSTRAINTS, FORMATS
from tests.support.projects import write_job


def find(root: Path, schema: Any, **output: Any) -> list[Finding]:
    return run_rules(load_spec(write_job(root, output={"schema": schema, **output})))


def a(part: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": ["a"], "properties": {"a": part}, **more}


def many(kind: Any, count: int, **more: Any) -> dict[str, Any]:
    names = {f"p{index}": kind for index in range(count)}
    return {"type": "object", "additionalProperties": False, "properties": names, **more}


def referring(name: str) -> dict[str, Any]:
    return a({"type": "array", "items": {"$ref": f"#/$defs/{name}"}})


RECURSIVE = a({"$ref": "#/$defs/N"}, **{"$defs": {"N": referring("M"), "M": referring("N")}})


@pytest.mark.parametrize(
    ("schema", "severity", "what"),
    [
        (RECURSIVE, "error", "a definition that refers to itself at #/$defs/N"),
        (many({"type": "string"}, 25), "error", "25 optional properties, where 24 are the most"),
        (
            many({"type": ["string", "null"]}, 17, required=[f"p{index}" for index in range(17)]),
            "error",
            "17 unions, where 16 are the most",
        ),
        (a({"type": ["object", "null"], "additionalProperties": True}), "error", "properties of any name"),
        (a({"const": {"b": 1}}), "warning", "probably do not support a part without a type"),
        (a({"description": "anything"}), "warning", "a part without a type"),
    ],
)
def test_limit_of_structured_outputs_is_found(tmp_path: Path, schema: Any, severity: str, what: str) -> None:
    found = [one for one in find(tmp_path, schema, enforce="api") if what in one.message]
    assert [(one.severity, one.rule) for one in found] == [(severity, "output-schema")]
    for other in ({"parse": "json"}, {"enforce": "tool"}, {}):
        assert find(tmp_path, schema, **other) == []


@pytest.mark.parametrize(
    "schema",
    [
        many({"type": "string"}, 24),
        a({"type": "string", "pattern": r"^[A-Z]{2}(?:a|b)\.\d+$"}),
        a({"$ref": "#/$defs/N"}, **{"$defs": {"N": a({"$ref": "#/$defs/M"}), "M": {"type": "string"}}}),
        a({"anyOf": [{"type": "object", "additionalProperties": False, "properties": {}}, {"type": "null"}]}),
    ],
)
def test_schema_within_the_limits_has_no_finding(tmp_path: Path, schema: Any) -> None:
    assert find(tmp_path, schema) == []


def test_schemas_of_strict_tools_and_params_are_checked_too(tmp_path: Path) -> None:
    free = {"type": "object", "additionalProperties": {"type": "string"}}
    tool = {"name": "t", "strict": True, "input_schema": a(free)}
    params = {"model": "claude-haiku-5-5", "max_tokens": 9, "tools": [tool]}
    path = write_job(tmp_path, params=params, allow=["client-tools"], output={"schema": a({"type": "string"})})
    [found] = run_rules(load_spec(path))
    assert found.message.endswith("change the schema, or remove `strict` from the tool")
    spec = json.loads(path.read_text())
    spec["params"]["tools"][0]["strict"] = False
    path.write_text(json.dumps(spec))
    assert run_rules(load_spec(path)) == []


def test_limits_hold_for_all_schemas_of_a_request(tmp_path: Path) -> None:
    tool = {"name": "t", "strict": True, "input_schema": many({"type": "string"}, 13)}
    params = {"model": "claude-haiku-5-5", "max_tokens": 9, "tools": [tool]}
    output = {"schema": many({"type": "string"}, 12)}
    [found] = run_rules(load_spec(write_job(tmp_path, params=params, allow=["client-tools"], output=output)))
    assert "at most 24 optional properties in one request, and this one has 25 in all its schemas" in found.message


def test_keywords_of_referenced_parts_are_checked_too(tmp_path: Path) -> None:
    due = {"type": "string", "nullable": True}
    own = {"Due": due, "Tree": a({"$ref": "#/components/Tree"}, nullable=True), "Any": {"nullable": True}}
    names = {name: {"$ref": f"#/components/{name}"} for name in own}
    schema = {"type": "object", "properties": names, "components": own, "additionalProperties": False}
    remedies = ("[string, 'null']`", "[object, 'null']`", "anyOf: [<this schema>, {type: 'null'}]`")
    found = [one.message for one in find(tmp_path, schema, enforce="tool") if one.rule == "schema-keyword"]
    assert [message.split("/")[-1].split()[0] for message in found] == ["Due", "Tree", "Any"]
    assert all(message.endswith(remedy) for message, remedy in zip(found, remedies, strict=True))


def test_unsupported_keywords_are_those_that_the_sdk_removes() -> None:
    for keyword in CONSTRAINTS:
        for kind in ("object", "array", "string", "integer"):
            assert keyword not in transform_schema({"type": kind, keyword: 2})
    assert set(FORMATS) == SupportedStringFormats
