"""Output schemas, inline and in files, with their mistakes."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.projects import load_lines, load_problems


def test_inline_output_schema_is_kept_unchanged(project: Path) -> None:
    schema = {"type": "object", "properties": {"on": {"type": "string"}}, "required": ["on"]}
    assert load_lines(project, f"output: {{schema: {json.dumps(schema)}}}").output.schema == schema


def test_an_output_schema_file_is_found_from_the_project_root(project: Path) -> None:
    (project / "schemas").mkdir()
    (project / "schemas" / "a.json").write_text('{"type": "string", "title": "é"}', "utf-8")
    assert load_lines(project, "output: {schema: schemas/a.json}").output.schema == {
        "type": "string",
        "title": "é",
    }


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a": 1,\n}', "a.json:2:1: not JSON"),
        (b"", "a.json:1:1: not JSON"),
        (b'{"title": "\xff"}', "a.json: not usable as JSON: "),
        (b"[1]", "a.json:1:1: a JSON schema must be an object, not a list"),
        (b"true", "a.json:1:1: a JSON schema must be an object, not true"),
        (
            b'{"properties": {"a": {"type": "strng"}}}',
            "a.json:1:31: not a valid JSON schema: at properties.a.type: 'strng'",
        ),
        (b'{"type": "string", "pattern": "("}', "a.json:1:31: not a valid JSON schema: at pattern"),
        (b'{"required": "a"}', "a.json:1:14: not a valid JSON schema: at required"),
    ],
)
def test_bad_output_schema_file_is_reported_with_its_place(project: Path, data: bytes, message: str) -> None:
    (project / "a.json").write_bytes(data)
    [found] = load_problems(project, "output: {schema: a.json}")
    assert str(found).startswith(message)


def test_boolean_exclusive_limit_is_reported_with_its_remedy(project: Path) -> None:
    (project / "a.json").write_text('{"minimum": 0, "exclusiveMinimum": true, "exclusiveMaximum": false}')
    found = [str(one) for one in load_problems(project, "output: {schema: a.json}")]
    remedies = ("write `exclusiveMinimum` with the number of `minimum`, instead", "remove it")
    assert {one.rsplit(": ", 1)[1] for one in found} == set(remedies)


def test_whole_openapi_document_is_no_output_schema(project: Path) -> None:
    document: dict[str, Any] = {"components": {"schemas": {"Order": {"type": "object"}}}}
    (project / "a.json").write_text(json.dumps({"openapi": "3.1.0", "paths": {}, **document}))
    [found] = load_problems(project, "output: {schema: a.json}")
    assert str(found).startswith("a.json:1:1: a whole OpenAPI document accepts any answer: ")
    assert '`"$ref": "#/components/schemas/Order"`' in found.message
    remedied = {"$ref": "#/components/schemas/Order", **document}
    (project / "a.json").write_text(json.dumps(remedied))
    assert load_lines(project, "output: {schema: a.json}").output.schema == remedied
    (project / "a.json").write_text('{"swagger": "2.0", "definitions": {"Pet": {}}}')
    assert '"#/definitions/Pet"' in load_problems(project, "output: {schema: a.json}")[0].message


def test_mistake_behind_a_reference_is_reported_with_its_place(project: Path) -> None:
    wrong = {"type": "object", "properties": {"a/b": {"anyOf": [{"type": "strng"}]}}}
    schema = {"$ref": "#/components/a~1b", "components": {"a/b": wrong}}
    (project / "a.json").write_text(json.dumps(schema, indent=1))
    [found] = load_problems(project, "output: {schema: a.json}")
    assert str(found).startswith("a.json:10:16: not a valid JSON schema: at components.a/b.properties.a/b.anyOf.0")
    deep = {"$ref": "#/parts/0", "parts": [{"$ref": "#/parts/1"}, {"minimum": "1"}]}
    (project / "a.json").write_text(json.dumps(deep))
    assert "at parts.1.minimum: " in load_problems(project, "output: {schema: a.json}")[0].message


@pytest.mark.parametrize("path", ["nope.json", "specs", "nope/a.json"])
def test_unreadable_output_schema_is_reported(project: Path, path: str) -> None:
    [found] = load_problems(project, f"output: {{schema: {path}}}")
    assert found.path == str(project / "specs" / "s.yaml")
    assert f"{path}: cannot read: " in found.message
    assert found.line > 0


def test_the_schema_for_editors_is_never_suggested(project: Path) -> None:
    (project / "runner.schema.json").write_text("{}")
    for path in ("labels.json", "runner_schema.json"):
        [found] = load_problems(project, f"output: {{schema: {path}}}")
        assert found.message.endswith(f"put it into {project}, or correct the path")
    (project / "label.json").write_text("{}")
    [found] = load_problems(project, "output: {schema: labels.json}")
    assert found.message.endswith("did you mean 'label.json'?")


def test_bad_inline_output_schema_is_reported(project: Path) -> None:
    [found] = load_problems(project, "output: {schema: {type: objct}}")
    assert str(found).startswith(str(project / "specs" / "s.yaml"))
    assert "output.schema" in str(found)
    assert "'objct'" in str(found)


@pytest.mark.parametrize("text", ['{"minimum": NaN}', '{"a": 1, "a": 2}', '{"title": "\\ud800"}'])
def test_schema_file_that_is_not_strict_json_is_rejected(project: Path, text: str) -> None:
    (project / "a.json").write_text(text)
    assert "not usable as JSON" in load_problems(project, "output: {schema: a.json}")[0].message
