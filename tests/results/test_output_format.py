"""Outputs match the spec: JSON by a schema, the input of a tool, or parsed text."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import Summary, load_spec
from runner.errors import CanaryFailed, InputError
from runner.lifecycle.plan.preview import render_requests
from runner.results.output_format import AnswerBlock, OutputFormat, build_output_format
from runner.results.validator import make_validator
from runner.spec.spec import Check, Output
from tests.support.outputs import records
from tests.support.projects import SCHEMA, SPEC, write_job
from tests.support.simulator import paid

GOOD = {"label": "good", "score": 3}


def text(*parts: str) -> list[AnswerBlock]:
    return [AnswerBlock("text", text=part) for part in parts]


def call(name: str, given: Any) -> AnswerBlock:
    return AnswerBlock("tool_use", id="toolu_1", name=name, input=given)


@pytest.mark.parametrize(
    ("output", "answer", "expected"),
    [
        (Output(parse="json"), '{"a": [1]}', {"a": [1]}),
        (Output(parse="json"), '```json\n{"a": 1}\n```', {"a": 1}),
        (Output(parse="json"), '```json\n{"a":1}```', {"a": 1}),
        (Output(parse="json"), '```json \r\n{"a": 1}\r\n```\r\n', {"a": 1}),
        (Output(parse="json"), '```json5\n{"a": 1}\n```', {"a": 1}),
        (Output(parse="json"), '```json {"a": 1}```', {"a": 1}),
        (Output(parse="json"), '```{"a": 1}```', {"a": 1}),
        (Output(parse="json"), "Sure: {}", {}),
        (Output(parse="json"), 'Here it is:\n```json {"a": "b {c}"} ```\nHope it helps', {"a": "b {c}"}),
        (Output(parse="json"), 'The answer is {"a": {"b": 1}}. Hope it helps {smile}', {"a": {"b": 1}}),
        (Output(parse="json"), "Sure, as in [1]:\n\n[1, 2]\r\n\r\nDone.", [1, 2]),
        (Output(parse="lines"), "a\u2028b\x0b c\x85d\r\n\r\n e\n", ["a\u2028b\x0b c\x85d", "e"]),
        (Output(parse="json"), "Here it is:\n```\n[1]\n```\nHope it helps", [1]),
        (Output(parse="json"), '{"a": "```json\\n1\\n```"}', {"a": "```json\n1\n```"}),
        (Output(parse="json"), "```json\n[1]\n```\nRead it so:\n```python\nload(it)\n```", [1]),
        (Output(parse="json"), "It has this form:\n```\n[n, …]\n```\nso:\n```json\n[1]\n```", [1]),
        (Output(parse="json", schema=SCHEMA), json.dumps(GOOD), GOOD),
        (Output(parse="lines"), " one \n\n two\n", ["one", "two"]),
        (Output(parse="regex", pattern=r"total: (?P<total>\d+)"), "The total: 12.", {"total": "12"}),
        (Output(parse="regex", pattern=r"(\d+) of (\d+)"), "3 of 4", ["3", "4"]),
        (Output(parse="regex", pattern=r"yes|no"), "I say no", "no"),
        (Output(), "as it is", "as it is"),
    ],
)
def test_an_output_is_parsed_from_text(output: Output, answer: str, expected: Any) -> None:
    assert build_output_format(output).parse_answer(text(answer), "end_turn", {}) == (expected, None)


def message(form: OutputFormat, content: list[AnswerBlock], row: dict[str, Any] | None = None) -> str | None:
    """The message about an answer that is not valid."""
    _, problem = form.parse_answer(content, "end_turn", row or {})
    return None if problem is None else problem.message


@pytest.mark.parametrize(
    ("output", "answer", "wrong"),
    [
        (Output(parse="json"), 'Either {"a": 1} or {"a": 2}', "not JSON"),
        (Output(parse="json"), "No, see [1]", "not JSON"),
        (Output(parse="json"), 'Here: {"a": {"b": 1}', "not JSON"),
        (Output(parse="json"), '{"a": {"b": 1}, "c": ', "not JSON"),
        (Output(parse="json"), '[{"a": 1}, {"a": 2', "not JSON"),
        (Output(parse="json"), "{'a': {\"b\": 1}}", "not JSON"),
        (Output(parse="json"), '{"a": "x" "y", "b": {"c": 1}}', "not JSON"),
        (Output(parse="json"), 'The list: [{"a": 1}, {"b"]', "not JSON"),
        (Output(parse="json"), 'It is {"a": 1', "not JSON"),
        (Output(parse="json"), "{" * 3000, "not JSON"),
        (Output(parse="json"), 'So {"a": 1}' + " {x}" * 200_000, "not JSON"),
        (Output(parse="json"), "```json\n1\n```\nor\n```json\n2\n```", "not JSON"),
        (Output(parse="json", schema=SCHEMA), "{}", "'label' is a required property"),
        (Output(parse="regex", pattern="x(y)"), "xz", "nothing in the answer matches x(y)"),
        (Output(parse="lines", schema={"type": "array", "minItems": 3}), "a\nb", "has less than 3 items"),
    ],
)
def test_unparsable_output_is_invalid(output: Output, answer: str, wrong: str) -> None:
    found = message(build_output_format(output), text(answer))
    assert found is not None
    assert re.sub('"', "'", found).find(wrong) >= 0, found


def test_the_output_is_the_input_of_the_tool() -> None:
    form = OutputFormat(make_validator(SCHEMA), tool="record")
    assert form.parse_answer([*text("Here:"), call("record", GOOD)], "tool_use", {}) == (GOOD, None)
    assert message(form, [call("record", {})]) is not None
    assert message(form, [call("other", GOOD)]) == "the model called record 0 times, and once is meant"
    assert message(form, [call("record", GOOD)] * 2) is not None
    assert form.parse_answer(text("no"), "end_turn", {})[0] == "no"
    assert message(form, text("no")) == "the model called record 0 times, and once is meant"


def test_invalid_pattern_is_an_error(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, output={"parse": "regex", "pattern": "("})
    with pytest.raises(InputError, match=r"output\.pattern: is not a valid regular expression"):
        run_job()


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"parse": "regex"}, "`pattern` and `parse: regex` need each other"),
        ({"parse": "json", "pattern": "x"}, "`pattern` and `parse: regex` need each other"),
        ({"tool": "record"}, "params.tools does not define record"),
        ({"tool": "record", "parse": "json", "schema": SCHEMA}, "remove `tool` or `parse`"),
        ({"tool": "no spaces"}, "expected 1 to 128 characters"),
        ({}, "must have at least this many entries: 1"),
    ],
)
def test_conflicting_output_settings_are_errors(tmp_path: Path, output: Any, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        load_spec(write_job(tmp_path, output=output))


def sent(root: Path) -> dict[str, Any]:
    body = next((root / ".runner/runs").glob("*/bodies/1-1.json"))
    found: dict[str, Any] = json.loads(body.read_text())["requests"][0]["params"]
    return found


def test_a_tool_is_made_from_the_schema_and_forced(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, output={"schema": SCHEMA, "tool": "record_label"})
    assert run_job().outcomes == {"succeeded": 20}
    params = sent(tmp_path)
    assert ([tool["name"] for tool in params["tools"]], "output_config" in params) == (["record_label"], False)
    assert params["tools"][0]["input_schema"] == SCHEMA
    assert params["tool_choice"] == {"type": "tool", "name": "record_label"}
    assert all(set(one["output"]) == {"label", "score"} for one in records(tmp_path / "out/all.jsonl"))


@pytest.mark.parametrize(
    "params",
    [
        {"model": "claude-sonnet-4-6", "max_tokens": 4000, "thinking": {"type": "adaptive"}},
        {"model": "claude-sonnet-4-6", "max_tokens": 4000, "thinking": {"type": "enabled", "budget_tokens": 2000}},
        {"model": "claude-fable-5", "max_tokens": 4000},
    ],
)
def test_tool_is_offered_while_thinking_is_on(tmp_path: Path, params: dict[str, Any]) -> None:
    spec = load_spec(write_job(tmp_path, output={"schema": SCHEMA, "tool": "record"}, params=params))
    [line] = render_requests(spec, limit=1)
    assert "tool_choice" not in json.loads(line)["params"]
    assert json.loads(line)["params"]["tools"][0]["name"] == "record"


def test_tool_is_forced_while_thinking_is_disabled(tmp_path: Path) -> None:
    params = {"model": "claude-sonnet-4-6", "max_tokens": 4000, "thinking": {"type": "disabled"}}
    spec = load_spec(write_job(tmp_path, output={"schema": SCHEMA, "tool": "record"}, params=params))
    [line] = render_requests(spec, limit=1)
    assert json.loads(line)["params"]["tool_choice"] == {"type": "tool", "name": "record"}


def test_tool_is_offered_to_a_model_that_cannot_be_forced(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    params = {"model": "claude-opus-5-5", "max_tokens": 100}
    write_job(tmp_path, output={"schema": SCHEMA, "tool": "record_label"}, params=params)
    assert run_job().outcomes == {"succeeded": 20}
    assert "tool_choice" not in sent(tmp_path)


def test_own_tool_is_sent_unchanged(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    tool = {"name": "label", "description": "Mine", "input_schema": SCHEMA}
    params = {**SPEC["params"], "tools": [tool], "tool_choice": {"type": "auto"}}
    write_job(tmp_path, output={"tool": "label"}, params=params)
    assert run_job().outcomes == {"succeeded": 20}
    assert (sent(tmp_path)["tools"], sent(tmp_path)["tool_choice"]) == ([tool], {"type": "auto"})


def test_outputs_parsed_from_text_are_delivered(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    columns = {"id": "key", "word": "output.word"}
    sinks = [{"type": "jsonl", "path": "out/words.jsonl", "columns": columns}]
    write_job(tmp_path, output={"parse": "regex", "pattern": r"about (?P<word>\w+)"}, sinks=sinks)
    assert run_job().outcomes == {"succeeded": 20}
    assert all(one["word"] for one in records(tmp_path / "out/words.jsonl"))
    assert "output_config" not in sent(tmp_path)


CHECKS = [
    {"check": "score > 0"},
    {"check": "label in ['good', 'bad'] and output.score < 10_000", "message": "odd label"},
    {"check": "row.id[1:] | int != 7", "message": "row 7 never passes"},
]


def test_checks_see_the_output_its_fields_and_the_row() -> None:
    checks = tuple(Check(one["check"], one.get("message", one["check"])) for one in CHECKS)
    form = build_output_format(Output(schema=SCHEMA, checks=checks))
    found = [
        message(form, text(json.dumps({"label": "good", "score": score})), {"id": row})
        for score, row in ((1, "r1"), (0, "r1"), (20_000, "r1"), (1, "r7"))
    ]
    assert found == [None, "score > 0", "odd label", "row 7 never passes"]


def test_check_that_raises_fails_with_the_reason() -> None:
    form = build_output_format(Output(parse="json", checks=(Check("1 / n > 0", "n counts"),)))
    assert message(form, text('{"n": 0}')) == "n counts (division by zero)"
    assert message(form, text("{}")) is not None


def test_check_with_an_unknown_field_is_an_error(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, output={"schema": SCHEMA, "checks": [{"check": "scores > 0"}]})
    with pytest.raises(
        InputError, match=r"job\.yaml:1:\d+: output\.checks\.0\.check: 'scores' is undefined: did you"
    ):
        run_job()


@pytest.mark.parametrize("mode", ["batch", "sync"])
def test_row_failing_a_check_is_retried_and_ends_invalid(
    tmp_path: Path, run_job: Callable[..., Summary], mode: str
) -> None:
    checks = [{"check": "row.id != 'r7'", "message": "row 7 never passes"}]
    write_job(tmp_path, output={"schema": SCHEMA, "checks": checks}, retry={"attempts": 2}, mode=mode)
    assert run_job().outcomes == {"succeeded": 19, "invalid": 1}
    [bad] = [one for one in records(tmp_path / "out/all.jsonl") if one["outcome"] == "invalid"]
    assert (bad["key"], bad["error"]) == ("r7", {"type": "invalid", "message": "row 7 never passes"})
    assert set(bad["output"]) == {"label", "score"}


def test_row_failing_a_check_is_repaired_with_the_message(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    checks = [{"check": "row.id != 'r7'", "message": "row 7 never passes"}]
    retry = {"attempts": 2, "repair": True}
    write_job(tmp_path, output={"schema": SCHEMA, "checks": checks}, retry=retry)
    run_job()
    body = next((tmp_path / ".runner/runs").glob("*/bodies/2-1.json")).read_text()
    assert "This cannot be used: row 7 never passes" in body


def test_earlier_answer_failing_a_new_check_is_not_reused(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    run_job()
    checks = [{"check": "row.id != 'r7'"}]
    write_job(tmp_path, output={"schema": SCHEMA, "checks": checks}, retry={"attempts": 1})
    assert run_job().outcomes == {"succeeded": 19, "invalid": 1}
    assert sum(paid(tmp_path / "api").values()) == 21


def test_reused_answer_is_parsed_again(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, output={"parse": "lines"})
    run_job()
    write_job(tmp_path, output={"parse": "regex", "pattern": "Simulated (answer)"})
    assert run_job().outcomes == {"succeeded": 20}
    assert (records(tmp_path / "out/all.jsonl")[0]["output"], sum(paid(tmp_path / "api").values())) == (
        ["answer"],
        20,
    )
    write_job(tmp_path, output={"parse": "regex", "pattern": "nowhere"}, retry={"attempts": 1})
    assert run_job().outcomes == {"invalid": 20}


def test_checks_apply_to_the_canary(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    checks = [{"check": "row.id != 'r2'", "message": "row 2 never passes"}]
    write_job(tmp_path, output={"schema": SCHEMA, "checks": checks}, canary=3)
    with pytest.raises(CanaryFailed, match="row 2 is invalid: row 2 never passes"):
        run_job()


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/nowhere"},
        {"$ref": "https://example.com/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"type": "strin"},
        {"pattern": "("},
        {"minimum": "x"},
        {"$schema": "x:unknown"},
    ],
)
def test_unusable_schema_is_an_input_error(schema: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"output\.schema: cannot be used: \S") as caught:
        make_validator(schema)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("reference", "remedy"),
    [
        ("shop.json#/components/schemas/Order", "copy what it names into `$defs` of this schema"),
        ("https://example.com/schema.json", "copy what it names into `$defs` of this schema"),
        ("#/$defs/Order", "add that part, or correct the `$ref`"),
        ("#order", "add that part, or correct the `$ref`"),
    ],
)
def test_reference_to_nothing_is_reported_with_a_remedy(reference: str, remedy: str) -> None:
    with pytest.raises(InputError, match=r"output\.schema: cannot be used: ") as caught:
        make_validator({"$ref": reference})
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"$defs": {"n": {"type": "integer"}}, "$ref": "#/$defs/n"}, 1, "1"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, None, "x"),
        ({"enum": ["a", 1]}, "a", "b"),
        ({"type": "string", "pattern": "^[A-Z]{2}$"}, "AB", "ABC"),
        ({"type": "string", "format": "email"}, "a@example.com", "a"),
        ({"type": "array", "items": {"type": "array", "minItems": 1}}, [[1]], [[]]),
        ({"type": "number", "multipleOf": 0.01}, 19.99, 19.999),
        ({"type": "integer", "maximum": 5}, -(10**30), 10**30),
    ],
)
def test_answers_are_validated_against_the_schema(schema: dict[str, Any], good: Any, bad: Any) -> None:
    validate = make_validator(schema)
    assert validate(good) is None
    assert validate(bad)
