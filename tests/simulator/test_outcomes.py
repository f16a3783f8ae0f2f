"""Chosen outcomes and failing calls of the simulator."""

from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest

from runner.simulator.responses import DropConnection, ErrorResponse
from runner.simulator.server import serve
from tests.support.simulator import batch_request, create_batch, results_by_id, simulator_client


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"stream": True}, "stream: not supported in a Message Batch"),
        ({"speed": "fast"}, "speed: not supported in a Message Batch"),
        ({"store": True}, "store: not supported in a Message Batch"),
        ({"fallbacks": [{"model": "m"}]}, "fallbacks: not supported in a Message Batch"),
        ({"temperature": 1.0}, "temperature: not supported since API version"),
        ({"top_p": 0.5}, "top_p: not supported since API version"),
        ({"top_k": 5}, "top_k: not supported since API version"),
        ({"max_tokens": 0}, "max_tokens: must be greater than or equal to 1"),
        ({"messages": []}, "messages: at least one message is required"),
        ({"model": None}, "$.model"),
        ({"max_tokens": "9"}, "$.max_tokens"),
        ({"messages": [{"role": "user", "content": None}]}, "messages: "),
        ({"messages": [{"role": "user", "content": 5}]}, "messages: "),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": None}]}]}, "messages: "),
        ({"output_config": {"format": {"type": "xml", "schema": {}}}}, "$.output_config.format.type"),
    ],
)
def test_invalid_request_in_a_batch_errors_alone(
    fast: anthropic.Anthropic, params: dict[str, Any], message: str
) -> None:
    batch = fast.messages.batches.create(requests=[batch_request("good"), batch_request("bad", **params)])
    found = results_by_id(fast, batch)
    result = found["bad"].result
    assert found["good"].result.type == "succeeded" and result.type == "errored"
    assert result.error.error.type == "invalid_request_error" and message in result.error.error.message
    assert fast.messages.batches.retrieve(batch.id).request_counts.errored == 1


@pytest.mark.parametrize("kind", ["succeeded", "errored", "canceled", "expired"])
def test_mix_decides_how_a_request_ends(tmp_path: Path, kind: str) -> None:
    mix = {"odd": kind}
    with (
        serve(tmp_path, seconds=0, pick_outcome=lambda custom_id: mix.get(custom_id, "succeeded")) as url,
        simulator_client(url) as api,
    ):
        batch = create_batch(api, "odd", "even")
        found = results_by_id(api, batch)
        counts = api.messages.batches.retrieve(batch.id).request_counts
    assert (found["odd"].result.type, found["even"].result.type) == (kind, "succeeded")
    assert getattr(counts, kind) == (2 if kind == "succeeded" else 1)


def test_a_missing_result_is_counted_but_not_in_the_file(tmp_path: Path) -> None:
    with (
        serve(tmp_path, seconds=0, pick_outcome={"a": "missing", "b": "refused"}.__getitem__) as url,
        simulator_client(url) as api,
    ):
        batch = create_batch(api, "a", "b")
        (found,) = results_by_id(api, batch).values()
        assert api.messages.batches.retrieve(batch.id).request_counts.succeeded == 2
        assert found.result.type == "succeeded" and found.result.message.stop_reason == "refusal"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (403, anthropic.PermissionDeniedError),
        (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError),
        (529, anthropic.InternalServerError),
    ],
)
def test_hook_can_fail_a_call_before_it_has_effects(
    tmp_path: Path, status: int, error: type[anthropic.APIStatusError]
) -> None:
    def fail(moment: str) -> None:
        if moment == "create":
            raise ErrorResponse(status, "as told", {"retry-after": "7"})

    with serve(tmp_path, hook=fail) as url, simulator_client(url) as api:
        with pytest.raises(error, match="as told") as caught:
            create_batch(api, "a")
        assert caught.value.response.headers["retry-after"] == "7"
        assert list(api.messages.batches.list()) == []


def test_connection_dropped_after_create_leaves_a_batch(tmp_path: Path) -> None:
    def drop(moment: str) -> None:
        if moment == "created":
            raise DropConnection

    with serve(tmp_path, hook=drop) as url, simulator_client(url) as api:
        with pytest.raises(anthropic.APIConnectionError):
            create_batch(api, "a", "b")
        assert [batch.request_counts.processing for batch in api.messages.batches.list()] == [2]


def test_download_dropped_halfway_is_detected(tmp_path: Path) -> None:
    def drop(moment: str) -> None:
        if moment == "results-half":
            raise DropConnection

    with serve(tmp_path, seconds=0, hook=drop) as url, simulator_client(url) as api:
        batch = create_batch(api, *(f"r{n}" for n in range(50)))
        with pytest.raises(httpx2.RemoteProtocolError, match=r"peer closed|incomplete"):
            results_by_id(api, batch)
