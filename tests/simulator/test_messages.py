"""Simulated synchronous messages and models."""

import anthropic
import pytest

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
