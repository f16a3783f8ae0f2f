"""The outcome of every kind of result line."""

import json
import re
from typing import Any, get_args

import pytest
from anthropic.types import StopReason
from hypothesis import example, given, settings
from hypothesis import strategies as st

from runner.results.outcome import Outcome, make_rejected_line, parse_result
from runner.results.outcome_names import OUTCOMES
from runner.results.output_format import TEXT_FORMAT, OutputFormat
from runner.results.validator import make_validator
from tests.support.outputs import COUNT_SCHEMA, MESSAGE, TOOL_CALL, error_line, message_line, result_line


def test_finished_text_is_a_success_with_all_fields() -> None:
    found = parse_result(message_line("hi"))
    assert found[:4] == ("r-1-1-1", "succeeded", "hi", None)
    assert (found.stop_reason, found.model, found.is_retryable) == ("end_turn", "m", False)
    assert found.usage is not None and json.loads(bytes(found.usage)) == MESSAGE["usage"]


@pytest.mark.parametrize(
    ("reason", "outcome", "again"),
    [
        ("end_turn", "succeeded", False),
        ("stop_sequence", "succeeded", False),
        ("max_tokens", "truncated", True),
        ("model_context_window_exceeded", "truncated", True),
        ("pause_turn", "truncated", True),
        ("refusal", "refused", True),
        ("not_known_yet", "invalid", False),
        ("", "invalid", False),
        (None, "invalid", False),
    ],
)
@pytest.mark.parametrize("has_schema", [False, True])
def test_the_stop_reason_decides_the_outcome(
    reason: str | None, outcome: str, again: bool, has_schema: bool
) -> None:
    found = parse_result(
        message_line('{"n": 1}', stop_reason=reason),
        OutputFormat(make_validator(COUNT_SCHEMA)) if has_schema else TEXT_FORMAT,
    )
    assert (found.outcome, found.is_retryable, found.stop_reason) == (outcome, again, reason)
    assert (found.error is None) == (outcome == "succeeded")
    assert found.output == ({"n": 1} if has_schema and outcome == "succeeded" else '{"n": 1}')


@pytest.mark.parametrize("reason", [*get_args(StopReason), None, "", "END_TURN", "end_turn "])
def test_every_stop_reason_of_the_sdk_has_an_outcome(reason: str | None) -> None:
    found = parse_result(message_line("hi", stop_reason=reason))
    assert found.outcome in OUTCOMES
    assert (found.outcome == "succeeded") == (reason in ("end_turn", "stop_sequence"))


def test_no_stop_reason_of_the_sdk_is_unknown() -> None:
    content = [TOOL_CALL, *MESSAGE["content"]]
    outcomes = [
        parse_result(message_line(content=content, stop_reason=reason)).outcome for reason in get_args(StopReason)
    ]
    assert len(outcomes) > 5 and "invalid" not in outcomes


def test_tool_calls_are_the_output_of_a_tool_use_turn() -> None:
    content = [{"type": "text", "text": "let me see"}, TOOL_CALL]
    found = parse_result(message_line(content=content, stop_reason="tool_use"))
    assert found.outcome == "succeeded"
    assert found.output == [{"id": "t1", "name": "look", "input": {"a": [10**30]}}]


@pytest.mark.parametrize(
    ("content", "has_schema"),
    [
        ([{"type": "text", "text": '{"n": 1}'}], False),
        ([{"type": "text", "text": '{"n": 1}'}], True),
        ([{"type": "text", "text": '{"n": 1}'}, TOOL_CALL], True),
        ([], False),
    ],
    ids=["no call", "no call under a schema", "call under a schema", "nothing"],
)
def test_tool_use_without_calls_or_with_a_schema_is_invalid(content: list[Any], has_schema: bool) -> None:
    found = parse_result(
        message_line(content=content, stop_reason="tool_use"),
        OutputFormat(make_validator(COUNT_SCHEMA)) if has_schema else TEXT_FORMAT,
    )
    assert (found.outcome, found.stop_reason) == ("invalid", "tool_use")
    assert found.error is not None and "called a tool" in found.error["message"]


@pytest.mark.parametrize(
    ("details", "why"),
    [
        ({"type": "refusal", "category": "bio", "explanation": "no pathogens"}, "no pathogens"),
        ({"type": "refusal", "category": "bio", "explanation": None}, "bio"),
        ({"type": "refusal", "category": None, "explanation": None}, "the model refused to answer"),
        (None, "the model refused to answer"),
    ],
)
def test_refusal_has_its_reason(details: Any, why: str) -> None:
    found = parse_result(message_line("", stop_reason="refusal", stop_details=details))
    assert (found.outcome, found.error) == ("refused", {"type": "refused", "message": why})


@pytest.mark.parametrize(
    ("text", "output", "why"),
    [
        ("nope", "nope", "not JSON"),
        ("", "", "not JSON"),
        ('{"n": 1} x', '{"n": 1} x', "not JSON"),
        ('{"n": NaN}', '{"n": NaN}', "not JSON"),
        ('```json\n{"n": 1}\n```', '```json\n{"n": 1}\n```', "not JSON"),
        ('{"n": "x"}', {"n": "x"}, 'n: "x" is not of type "integer"'),
        ('{"n": 1, "m": 2}', {"n": 1, "m": 2}, "the answer: Additional properties"),
        ("{}", {}, 'the answer: "n" is a required property'),
        ('{"n": 1, "day": "2026-02-30"}', {"n": 1, "day": "2026-02-30"}, "day: "),
    ],
)
def test_an_answer_that_breaks_the_schema_is_invalid_and_kept(text: str, output: Any, why: str) -> None:
    found = parse_result(message_line(text), OutputFormat(make_validator(COUNT_SCHEMA)))
    assert (found.outcome, found.output, found.is_retryable) == ("invalid", output, True)
    assert found.error is not None and found.error["message"].startswith(why)


def test_nested_schema_error_is_reported_with_its_place() -> None:
    schema = {"type": "object", "properties": {"lines": {"type": "array", "items": COUNT_SCHEMA}}}
    found = parse_result(message_line('{"lines": [{"n": 1}, {"n": "x"}]}'), OutputFormat(make_validator(schema)))
    assert found.error == {"type": "invalid", "message": 'lines[1].n: "x" is not of type "integer"'}


@pytest.mark.parametrize("depth", [3000, 100_000])
def test_an_answer_that_is_nested_too_deep_is_invalid_and_kept(depth: int) -> None:
    text = "[" * depth + "]" * depth
    found = parse_result(message_line(text), OutputFormat(make_validator({})))
    assert (found.outcome, found.output) == ("invalid", text)


def test_schema_error_of_a_long_answer_is_shortened() -> None:
    found = parse_result(
        message_line(json.dumps({"n": "x" * 100_000})), OutputFormat(make_validator(COUNT_SCHEMA))
    )
    assert found.error is not None and found.error["message"].startswith('n: "xxx')
    assert len(found.error["message"]) < 1000


def test_only_text_blocks_are_the_answer() -> None:
    content = [
        {"type": "thinking", "thinking": "{", "signature": "s"},
        {"type": "text", "text": '{"n"'},
        {"type": "not_known_yet", "data": [1]},
        {"type": "text", "text": ": 1}"},
    ]
    assert parse_result(message_line(content=content), OutputFormat(make_validator(COUNT_SCHEMA))).output == {
        "n": 1
    }
    assert parse_result(message_line(content=content)).output == '{"n": 1}'


@pytest.mark.parametrize(
    "block",
    [
        {"type": "not_known_yet", "text": None},
        {"type": "not_known_yet", "text": {"a": 1}},
        {"type": "not_known_yet", "id": None, "name": 5},
        {"type": "not_known_yet", "input": "x"},
    ],
)
def test_unknown_block_does_not_lose_the_answer(block: dict[str, Any]) -> None:
    found = parse_result(message_line(content=[block, {"type": "text", "text": "hi"}]))
    assert (found.outcome, found.output) == ("succeeded", "hi")


@pytest.mark.parametrize("block", [{"type": "text"}, {"type": "text", "text": None}, {"type": "text", "text": 5}])
def test_text_block_without_text_is_not_an_answer(block: dict[str, Any]) -> None:
    found = parse_result(message_line(content=[{"type": "text", "text": "hi"}, block]))
    assert (found.outcome, found.output) == ("invalid", ["hi", block.get("text")])


@pytest.mark.parametrize("half", ["\\ud800", "\\udc00", "\\ud83d\\ude00\\ud83d"])
def test_surrogate_in_an_unknown_result_does_not_lose_it(half: str) -> None:
    data = f'{{"custom_id": "r-1-1-1", "result": {{"type": 5, "text": "{half}"}}}}'.encode()
    found = parse_result(data)
    assert (found.outcome, found.error and found.error["type"]) == ("errored", "unknown_result")


@pytest.mark.parametrize("number", [2**63 - 1, 2**64, -(2**64) - 1, 10**40, 10**400])
def test_integers_of_any_size_are_kept(number: int) -> None:
    found = parse_result(message_line(f'{{"n": {number}}}'), OutputFormat(make_validator(COUNT_SCHEMA)))
    assert (found.outcome, found.output) == ("succeeded", {"n": number})
    assert (
        parse_result(message_line(f'{{"n": "x{number}"}}'), OutputFormat(make_validator(COUNT_SCHEMA))).outcome
        == "invalid"
    )


@pytest.mark.parametrize(
    ("type", "again"),
    [
        ("invalid_request_error", False),
        ("authentication_error", False),
        ("billing_error", False),
        ("permission_error", False),
        ("not_found_error", False),
        ("request_too_large", False),
        ("rate_limit_error", True),
        ("timeout_error", True),
        ("api_error", True),
        ("overloaded_error", True),
        ("not_known_yet", True),
    ],
)
def test_permanent_error_is_not_retryable(type: str, again: bool) -> None:
    found = parse_result(error_line(type))
    assert found == Outcome("r-1-1-1", "errored", error={"type": type, "message": "why"}, is_retryable=again)


@pytest.mark.parametrize(("type", "again"), [("expired", True), ("canceled", False)])
def test_request_that_never_ran_is_expired_or_canceled(type: str, again: bool) -> None:
    found = parse_result(result_line({"type": type}))
    assert (found.outcome, found.output, found.usage, found.is_retryable) == (type, None, None, again)
    assert found.error is not None and found.error["type"] == type


@pytest.mark.parametrize(
    "result",
    [
        {"type": "not_known_yet"},
        {"type": "not_known_yet", "message": MESSAGE},
        {"type": "Succeeded", "message": MESSAGE},
        {"type": "succeeded "},
        {"type": ""},
        {"type": "succeeded"},
        {"type": "succeeded", "message": None},
        {"type": "errored"},
        {"type": "errored", "message": MESSAGE},
        {"type": "succeeded", "message": {}},
        {"type": "succeeded", "message": {**MESSAGE, "content": "hi"}},
        {"type": "not_known_yet", "message": "x"},
        {"type": "not_known_yet", "error": "x"},
        {"type": "errored", "error": {"type": "api_error", "message": "flat"}},
        {"type": "errored", "error": {"error": {"type": "api_error", "message": None}}},
        {"type": None},
        {},
    ],
)
def test_unknown_result_never_counts_as_success(result: Any) -> None:
    found = parse_result(result_line(result))
    assert (found.outcome, found.output, found.is_retryable) == ("errored", None, False)
    assert found.error is not None and found.error["type"] == "unknown_result"


@given(st.text(max_size=20) | st.sampled_from(["errored", "expired", "canceled", "rejected", "succeeded"]))
def test_no_other_result_type_counts_as_success(type: str) -> None:
    error = {"error": {"type": "api_error"}}
    found = parse_result(result_line({"type": type, "message": MESSAGE, "error": error}))
    assert (found.outcome == "succeeded") == (type == "succeeded")


@given(st.text(max_size=20))
def test_success_needs_a_known_stop_reason(reason: str) -> None:
    found = parse_result(message_line('{"n": 1}', stop_reason=reason), OutputFormat(make_validator(COUNT_SCHEMA)))
    is_known = reason in ("end_turn", "stop_sequence")
    assert (found.outcome == "succeeded") == is_known


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from('a\\"u0d8\ud800\ud83d\udbff\udc00\ude00\udfff😀\u2028\0')))
@example("\ud83d\ud83d\ude00\udc00")
@example("\\ud800")
def test_halves_of_surrogate_pairs_become_replacement_characters(text: str) -> None:
    whole = json.loads(json.dumps(text))
    expected = re.sub("[\ud800-\udfff]", "\ufffd", whole)
    assert parse_result(message_line(text)).output == expected


@pytest.mark.parametrize("text", ['{"t": "x\ud83d"}', '{"t": "x\\ud83d"}'], ids=["in the line", "in the answer"])
def test_a_surrogate_in_an_answer_does_not_make_it_invalid(text: str) -> None:
    schema = {"type": "object", "properties": {"t": {"type": "string"}}}
    found = parse_result(message_line(text), OutputFormat(make_validator(schema)))
    assert (found.outcome, found.output) == ("succeeded", {"t": "x\ufffd"})


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_any_text_arrives_as_it_was_sent(text: str) -> None:
    raw = json.dumps({"custom_id": "x", "result": {"type": "succeeded", "message": MESSAGE}}, ensure_ascii=False)
    escaped = json.dumps(text, ensure_ascii=False)
    assert parse_result(raw.replace('"hi"', escaped).encode()).output == text
    assert parse_result(message_line(text)).output == text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"null",
        b"[]",
        b"{}",
        b"<html>",
        b"\xff",
        message_line("hi")[:-20],
        message_line("hi") + message_line("hi"),
        b'{"custom_id": "x"}',
        b'{"custom_id": "x", "result": null}',
        b'{"custom_id": "\xff", "result": {"type": "expired"}}',
        b'{"custom_id": "\\ud800", "result"',
        result_line({"type": "expired"}, custom_id=7),
        result_line({"type": "succeeded", "message": {}}, custom_id=None),
        result_line([]),
        b'{"custom_id": "x", "zz": ' + b"[" * 3000 + b"]" * 3000 + b', "result": {"type": "expired"}}',
    ],
    ids=lambda data: str(data[:40]),
)
def test_invalid_result_line_raises_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_result(data)


@settings(max_examples=250, deadline=None)
@given(
    base=st.sampled_from(
        [
            message_line('{"n": 1}'),
            error_line("api_error"),
            result_line({"type": "expired"}),
            message_line("\ud83d"),
        ]
    ),
    at=st.integers(0, 300),
    cut=st.integers(0, 12),
    junk=st.binary(max_size=8) | st.sampled_from([b"null", b"{}", b"[]", b"1", b'"x"', b"\\ud800", b","]),
)
def test_a_damaged_line_gives_an_outcome_or_value_error(base: bytes, at: int, cut: int, junk: bytes) -> None:
    try:
        found = parse_result(base[:at] + junk + base[at + cut :], OutputFormat(make_validator(COUNT_SCHEMA)))
    except ValueError as error:
        assert str(error)
    else:
        assert found.outcome in OUTCOMES


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_random_bytes_are_never_a_result(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_result(data)


def test_a_rejected_row_reads_back_with_its_reason() -> None:
    why = 'the request has 9,999 bytes "é"\n\0'
    data = make_rejected_line("r-0-0-7", why)
    found = parse_result(data)
    assert found[:4] == ("r-0-0-7", "rejected", None, {"type": "rejected", "message": why})
    assert found.is_retryable is False
    assert data.endswith(b"\n") and data.count(b"\n") == 1
