"""Columns, checks and conditions cannot name a field that does not exist."""

import json
from pathlib import Path
from typing import Any

import pytest

from runner import load_spec
from runner.errors import InputError
from runner.lifecycle.validate.checks import validate_spec
from runner.templates.expressions import compile_expression
from tests.support.projects import write_job

LINE = {"type": "object", "properties": {"total": {"type": "number"}, "due": {"type": ["string", "null"]}}}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "severity": {"enum": ["low", "high"]},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
        "who": {"anyOf": [LINE, {"type": "null"}]},
        "any": {},
        "open": {"type": "object", "properties": {"a": {}}, "additionalProperties": True},
        "either": {"anyOf": [LINE, {"type": "array"}]},
    },
    "required": ["severity"],
    "additionalProperties": False,
    "$defs": {"line": LINE},
}


OUTPUT = {"schema": SCHEMA, "parse": "json"}


def problems(root: Path, **changes: Any) -> list[str]:
    sinks = [{"type": "jsonl", "path": "out/x.jsonl"}]
    path = write_job(root, **{"output": OUTPUT, "sinks": sinks, **changes})
    try:
        validate_spec(load_spec(path))
    except InputError as error:
        return [problem.message for problem in error.problems]
    return []


def with_column(expression: str) -> dict[str, Any]:
    return {"sinks": [{"type": "jsonl", "path": "out/x.jsonl", "columns": {"a": expression}}]}


def with_check(expression: str) -> dict[str, Any]:
    return {"output": {**OUTPUT, "checks": [{"check": expression}]}}


WRONG = [
    ("output.severty", "output has no field 'severty': did you mean 'severity'?"),
    ("output['severty'] | upper", "output has no field 'severty': did you mean 'severity'?"),
    ("'x' if output.severty else 'y'", "output has no field 'severty': did you mean 'severity'?"),
    ("output.lines[0].totl", "output.lines[0] has no field 'totl': did you mean 'total'?"),
    ("output.lines.total", "output.lines is a list and has no field 'total'"),
    ("output.lines | sum(attribute='totl')", "output.lines[0] has no field 'totl': did you mean 'total'?"),
    ("output.lines | selectattr('totl') | list", "output.lines[0] has no field 'totl': did you mean 'total'?"),
    ("output.who.due.year", "output.who.due is text and has no field 'year'"),
    ("row.txt", "row has no field 'txt': did you mean 'text'?"),
    ("row['txt'] ~ 'x'", "row has no field 'txt': did you mean 'text'?"),
]
RIGHT = [
    "output.severity",
    "output.lines[0].total",
    "output.lines | sum(attribute='total')",
    "output.lines | map(attribute='due') | join(' ')",
    "output.who.due",
    "output.who.due.upper()",
    "output.any.thing",
    "output.open.other",
    "output.either.total",
    "output.items() | list",
    "output.more is defined and output.more",
    "output.more | default('')",
    "row.text ~ row['id']",
    "row.get('txt')",
]


@pytest.mark.parametrize("build", [with_column, with_check])
@pytest.mark.parametrize(("expression", "message"), WRONG)
def test_field_that_cannot_exist_is_an_error(tmp_path: Path, build: Any, expression: str, message: str) -> None:
    [found] = problems(tmp_path, **build(expression))
    assert found.endswith(message)


@pytest.mark.parametrize("build", [with_column, with_check])
@pytest.mark.parametrize("expression", RIGHT)
def test_field_that_can_exist_is_no_error(tmp_path: Path, build: Any, expression: str) -> None:
    assert problems(tmp_path, **build(expression)) == []


@pytest.mark.parametrize(
    ("output", "expression", "message"),
    [
        ({}, "output.label", "output is text and has no field 'label'"),
        ({"parse": "lines"}, "output.label", "output is a list and has no field 'label'"),
        (
            {"parse": "regex", "pattern": "(?P<label>a)"},
            "output.labl",
            "output has no field 'labl': did you mean 'label'?",
        ),
        ({"parse": "json"}, "output.label", None),
        ({"parse": "regex", "pattern": "(?P<label>a)"}, "output.label", None),
        ({}, "error.mesage", "error has no field 'mesage': did you mean 'message'?"),
        ({}, "usage.input_tokens", None),
    ],
)
def test_output_without_a_schema_is_known_too(
    tmp_path: Path, output: dict[str, Any], expression: str, message: str | None
) -> None:
    changes = {"output": output or {"allow_empty": True}, **with_column(expression)}
    found = problems(tmp_path, **changes)
    assert found == ([] if message is None else [f"column 'a': {message}"])


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("row.txt == 'a'", "source.where: row has no field 'txt': did you mean 'text'?"),
        ("txt == 'a'", "source.where: 'txt' is undefined: did you mean 'text'?"),
        ("row.text != 'a'", None),
    ],
)
def test_condition_knows_the_columns(tmp_path: Path, where: str, message: str | None) -> None:
    source = {"type": "csv", "path": "rows.csv", "key": "id", "where": where}
    assert problems(tmp_path, source=source) == ([] if message is None else [message])


def test_schemaless_rows_are_known_by_their_selected_columns(tmp_path: Path) -> None:
    write_job(tmp_path)
    (tmp_path / "rows.jsonl").write_text(json.dumps({"id": "a", "text": "one"}) + "\n")
    source: dict[str, Any] = {"type": "jsonl", "path": "rows.jsonl", "key": "id"}
    later = {**with_column("row.later"), "source": {**source, "where": "not row.later and not later"}}
    assert problems(tmp_path, **later) == []
    closed = {**source, "columns": ["id", "text"]}
    assert len(problems(tmp_path, **{**with_column("row.later"), "source": closed})) == 1
    assert len(problems(tmp_path, source={**closed, "where": "row.later"})) == 1


def test_the_line_of_a_wrong_field_is_named(tmp_path: Path) -> None:
    write_job(tmp_path)
    path = tmp_path / "job.yaml"
    path.write_text(
        "version: 1\nname: job\nsource: {type: csv, path: rows.csv}\nprompt: {user: '{{ text }}'}\n"
        "params: {model: claude-haiku-5-5, max_tokens: 50}\n"
        "sinks:\n  - type: jsonl\n    path: out/x.jsonl\n"
        "    columns:\n      a: |\n        row.text ~\n        row.txt\n"
        "output:\n  checks:\n    - check: |\n        row.text and\n        row.txt\n"
    )
    with pytest.raises(InputError) as caught:
        validate_spec(load_spec(path))
    assert [problem.line for problem in caught.value.problems] == [12, 17]


def test_expression_without_schemas_allows_any_field() -> None:
    assert compile_expression("output.anything")({"output": {"anything": 1}}) == 1
