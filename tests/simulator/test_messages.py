"""Simulated synchronous messages and models."""

from typing import Any

import anthropic
import pytest

from tests.support.simulator import BATCH_ITEM as ITEM
from tests.support.simulator import DEEP_JSON, MESSAGE_PARAMS, batch_request, raw_call, results_by_id


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
@pytest.mark.parametrize(
    "body",
    [b"nope", b"[]", b'{"model": "\xff"}', b'{"model": ' + DEEP_JSON + b"}"],
    ids=lambda body: str(body[:20]),
)
def test_invalid_message_body_is_a_bad_request(fast: anthropic.Anthropic, path: str, body: bytes) -> None:
    status, answer = raw_call(fast, "POST", path, body)
    assert (status, answer["type"], answer["error"]["type"]) == (400, "error", "invalid_request_error")


def test_sampling_parameters_still_work_in_the_older_api_version(fast: anthropic.Anthropic) -> None:
    batch = fast.messages.batches.create(
        requests=[batch_request("a", temperature=0.5)], extra_headers={"anthropic-version": "2023-06-01"}
    )
    assert results_by_id(fast, batch)["a"].result.type == "succeeded"


def test_a_message_is_answered_and_its_mistakes_are_bad_requests(fast: anthropic.Anthropic) -> None:
    message = fast.messages.create(**MESSAGE_PARAMS)
    assert (message.type, message.usage.service_tier) == ("message", "standard")
    with pytest.raises(anthropic.BadRequestError, match="temperature: not supported"):
        fast.messages.create(**MESSAGE_PARAMS, extra_body={"temperature": 1.0})


def test_models_are_listed_and_found(fast: anthropic.Anthropic) -> None:
    ids = [model.id for model in fast.models.list()]
    assert len(set(ids)) == len(ids) > 0
    assert fast.models.retrieve(ids[0]).id == ids[0]
    with pytest.raises(anthropic.NotFoundError):
        fast.models.retrieve("no-such-model")


DOCUMENT = {
    "type": "document",
    "source": {"type": "text", "media_type": "text/plain", "data": "It rains in Rome. " * 9},
    "citations": {"enabled": True},
}
TOOL: dict[str, Any] = {"name": "label", "description": "Labels", "input_schema": ITEM}
ASKED = {"role": "user", "content": [DOCUMENT, {"type": "text", "text": "Where does it rain?"}]}


@pytest.mark.parametrize(
    "params",
    [{}, {"tools": [TOOL]}, {"messages": [ASKED]}],
    ids=["text", "tool", "citations"],
)
def test_stream_gives_the_message_that_a_create_gives(fast: anthropic.Anthropic, params: dict[str, Any]) -> None:
    given = {**MESSAGE_PARAMS, **params}
    with fast.messages.stream(**given) as stream:
        pieces = list(stream.text_stream)
        streamed = stream.get_final_message()
    whole = fast.messages.create(**given)
    assert [one.type for one in streamed.content] == [one.type for one in whole.content]
    assert (streamed.stop_reason, streamed.usage.input_tokens > 0) == (whole.stop_reason, True)
    assert "".join(pieces) == "".join(one.text for one in streamed.content if one.type == "text")
    kinds = [event.type for event in fast.messages.create(**given, stream=True)]
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"model": "claude-haiku-9"}, "model: claude-haiku-9"),
        ({"max_token": 9}, "max_token"),
        ({"tools": [TOOL, TOOL]}, "unique"),
        ({"tools": [{**TOOL, "strict": True, "input_schema": {"anyOf": 3}}]}, "tools.0.input_schema: "),
        ({"tools": [{**TOOL, "input_schema": {"anyOf": [TOOL["input_schema"]]}}]}, "at its root"),
        ({"stop_sequences": [" "]}, "blank stop sequence"),
        ({"tool_choice": {"type": "tool", "name": "x"}, "tools": [TOOL]}, "tool_choice names the tool 'x'"),
        (
            {"messages": [*MESSAGE_PARAMS["messages"], {"role": "assistant", "content": "So: "}]},
            "ends with a blank",
        ),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {**ITEM, "minProperties": 1}}}},
            "property 'minProperties' is not supported",
        ),
        (
            {
                "output_config": {
                    "format": {"type": "json_schema", "schema": {**ITEM, "additionalProperties": True}}
                }
            },
            "properties of any name is not supported",
        ),
        (
            {
                "messages": [{"role": "user", "content": [DOCUMENT]}],
                "output_config": {"format": {"type": "json_schema", "schema": ITEM}},
            },
            "citations together with",
        ),
    ],
)
def test_what_a_rule_calls_an_error_is_refused(
    fast: anthropic.Anthropic, params: dict[str, Any], message: str
) -> None:
    result = results_by_id(fast, fast.messages.batches.create(requests=[batch_request("a", **params)]))["a"].result
    assert result.type == "errored"
    assert message in result.error.error.message
    with pytest.raises(anthropic.BadRequestError, match=message):
        fast.messages.create(**MESSAGE_PARAMS, extra_body=params)
