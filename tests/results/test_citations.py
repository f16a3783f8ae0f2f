"""Citations of an answer keep every field, in order, with the text that they support."""

import json
from typing import Any

import anthropic.types as sdk
import pytest
from pydantic import TypeAdapter

from runner.errors import InputError
from runner.results.outcome import parse_result
from runner.results.output_format import OutputFormat, build_output_format
from runner.spec.spec import Check, Output
from tests.support.outputs import TOOL_CALL, message_line, result_line

_DOCUMENT = {"cited_text": "One.", "document_index": 0, "document_title": None, "file_id": None}
_BLOCKS = {"start_block_index": 0, "end_block_index": 1}
LOCATIONS: list[dict[str, Any]] = [
    {"type": "char_location", **_DOCUMENT, "start_char_index": 0, "end_char_index": 4},
    {"type": "page_location", **_DOCUMENT, "start_page_number": 1, "end_page_number": 2},
    {"type": "content_block_location", **_DOCUMENT, **_BLOCKS},
    {"type": "web_search_result_location", "cited_text": "One.", "encrypted_index": "a", "title": "T", "url": "u"},
    {"type": "search_result_location", "cited_text": "One.", "search_result_index": 0, "source": "s", **_BLOCKS},
    {"type": "later_location", "deep": {"a": [1, None]}},
]


def cited(text: str, *citations: Any) -> dict[str, Any]:
    """A text block with citations."""
    return {"type": "text", "text": text, "citations": list(citations)}


def check(text: str, **given: Any) -> OutputFormat:
    """The form of answers with one check."""
    return build_output_format(Output(checks=(Check(text, "not cited"),), **given))


def test_locations_above_are_those_of_the_sdk() -> None:
    reader: TypeAdapter[Any] = TypeAdapter(sdk.TextCitation)
    for one in LOCATIONS[:-1]:
        assert reader.validate_python(one).type == one["type"]


@pytest.mark.parametrize("location", LOCATIONS, ids=lambda one: one["type"])
def test_citation_of_any_kind_keeps_its_fields(location: dict[str, Any]) -> None:
    found = parse_result(message_line(content=[cited("a", location)]))
    assert found.citations == [{"text": "a", **location}]


def test_citations_are_flat_and_in_order_and_text_is_joined() -> None:
    first, second, third = LOCATIONS[:3]
    plain = {"type": "text", "text": " and ", "citations": None}
    search = {"type": "web_search_tool_result", "tool_use_id": "s", "content": [], "citations": [first]}
    content = [
        search,
        cited("a", first, second),
        plain,
        {"type": "text", "text": "b"},
        cited("c", third),
        cited("d"),
    ]
    found = parse_result(message_line(content=content))
    assert found.output == "a and bcd"
    assert [(one["text"], one["type"]) for one in found.citations] == [
        ("a", first["type"]), ("a", second["type"]), ("c", third["type"])
    ]  # fmt: skip


@pytest.mark.parametrize("reason", ["max_tokens", "refusal", "some_later_reason"])
def test_an_answer_that_does_not_succeed_keeps_citations(reason: str) -> None:
    found = parse_result(message_line(content=[cited("a", LOCATIONS[0])], stop_reason=reason))
    assert found.outcome != "succeeded" and len(found.citations) == 1


def test_citations_beside_a_tool_call_are_kept() -> None:
    found = parse_result(message_line(content=[cited("a", LOCATIONS[0]), TOOL_CALL], stop_reason="tool_use"))
    assert (found.outcome, len(found.citations)) == ("succeeded", 1)


@pytest.mark.parametrize(("given", "kept"), [("x", ["x"]), ([1, None], [1, None]), ({}, [{"text": "a"}])])
def test_citations_of_an_unknown_shape_are_kept(given: Any, kept: list[Any]) -> None:
    block = {"type": "text", "text": "a", "citations": given}
    assert parse_result(message_line(content=[block])).citations == kept


def test_text_of_a_later_api_is_not_replaced() -> None:
    assert parse_result(message_line(content=[cited("a", {"text": "own"})])).citations == [{"text": "own"}]


def test_a_result_without_an_answer_has_no_citations() -> None:
    assert list(parse_result(result_line({"type": "expired"})).citations) == []


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("citations | length == 1", "succeeded"),
        ("citations[0].cited_text in row.text", "succeeded"),
        ("citations | length > 1", "invalid"),
    ],
)
def test_check_reads_citations(text: str, outcome: str) -> None:
    line = message_line(content=[cited("a", LOCATIONS[0])])
    assert parse_result(line, check(text), {"text": "One. Two."}).outcome == outcome


def test_citations_are_an_empty_list_in_a_check_without_any() -> None:
    assert parse_result(message_line("a"), check("citations | length == 0"), {}).outcome == "succeeded"


def test_field_of_the_output_named_citations_comes_first() -> None:
    schema = {"type": "object", "properties": {"citations": {"type": "string"}}, "additionalProperties": False}
    form = check("citations == 'mine'", schema=schema, parse="json")
    line = message_line(content=[cited(json.dumps({"citations": "mine"}), LOCATIONS[0])])
    assert parse_result(line, form, {}).outcome == "succeeded"


def test_field_of_the_list_of_citations_is_an_error() -> None:
    with pytest.raises(InputError, match="citations is a list and has no field 'cited_text'"):
        check("citations.cited_text")
