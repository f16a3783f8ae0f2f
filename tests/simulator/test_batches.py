"""Simulated batches: created, listed, canceled, deleted, and rejected if invalid."""

import time
from pathlib import Path
from typing import Any

import anthropic
import pytest

from runner.simulator.server import serve
from tests.support.simulator import (
    DEEP_JSON,
    batch_request,
    create_batch,
    raw_call,
    results_by_id,
    simulator_client,
)


def test_a_created_batch_is_in_progress_and_counts_its_requests(slow: anthropic.Anthropic) -> None:
    batch = create_batch(slow, "a", "b", "c")
    assert (batch.processing_status, batch.request_counts.processing) == ("in_progress", 3)
    assert batch.request_counts.succeeded == 0 and batch.ended_at is None and batch.results_url is None
    assert (batch.expires_at - batch.created_at).total_seconds() == 24 * 3600
    assert slow.messages.batches.retrieve(batch.id) == batch


def test_ended_batch_has_counts_and_a_results_url(fast: anthropic.Anthropic) -> None:
    batch = fast.messages.batches.retrieve(create_batch(fast, "a", "b").id)
    counts = batch.request_counts
    assert (batch.processing_status, counts.processing, counts.succeeded) == ("ended", 0, 2)
    assert batch.ended_at is not None
    assert batch.results_url == f"{str(fast.base_url).rstrip('/')}/v1/messages/batches/{batch.id}/results"


def test_a_batch_ends_by_itself(tmp_path: Path) -> None:
    with serve(tmp_path, seconds=0.4) as url, simulator_client(url) as api:
        batch = create_batch(api, "a")
        assert batch.processing_status == "in_progress"
        while api.messages.batches.retrieve(batch.id).processing_status != "ended":
            time.sleep(0.05)
        assert list(results_by_id(api, batch)) == ["a"]


def test_results_are_complete_and_shuffled(fast: anthropic.Anthropic) -> None:
    ids = [f"row-{n}" for n in range(300)]
    found = results_by_id(fast, create_batch(fast, *ids))
    assert sorted(found) == sorted(ids)
    assert list(found) != ids
    assert all(result.result.type == "succeeded" for result in found.values())


def test_a_batched_answer_is_a_whole_message(fast: anthropic.Anthropic) -> None:
    result = results_by_id(fast, create_batch(fast, "a"))["a"].result
    assert result.type == "succeeded"
    message = result.message
    assert (message.model, message.role, message.stop_reason) == ("claude-haiku-4-5", "assistant", "end_turn")
    assert message.usage.input_tokens > 0 and message.usage.service_tier == "batch"


def test_results_before_the_end_are_not_found(slow: anthropic.Anthropic) -> None:
    batch = create_batch(slow, "a")
    with pytest.raises(anthropic.AnthropicError, match="results_url"):
        results_by_id(slow, batch)
    status, body = raw_call(slow, "GET", f"/v1/messages/batches/{batch.id}/results")
    assert (status, body["error"]["type"]) == (404, "not_found_error")


@pytest.mark.parametrize("limit", [1, 3, 5, 7, 20])
def test_a_list_pages_through_all_batches_newest_first(
    seven: tuple[anthropic.Anthropic, list[str]], limit: int
) -> None:
    api, ids = seven
    assert [batch.id for batch in api.messages.batches.list(limit=limit)] == ids


@pytest.mark.parametrize(
    ("cursor", "limit", "expected", "has_more"),
    [
        ({"after_id": 2}, 3, [3, 4, 5], True),
        ({"after_id": 2}, 4, [3, 4, 5, 6], False),
        ({"after_id": 6}, 3, [], False),
        ({"before_id": 4}, 3, [1, 2, 3], True),
        ({"before_id": 4}, 4, [0, 1, 2, 3], False),
        ({"before_id": 0}, 3, [], False),
        ({}, 7, [0, 1, 2, 3, 4, 5, 6], False),
        ({}, 6, [0, 1, 2, 3, 4, 5], True),
    ],
)
def test_list_pages_forwards_and_backwards(
    seven: tuple[anthropic.Anthropic, list[str]],
    cursor: dict[str, int],
    limit: int,
    expected: list[int],
    has_more: bool,
) -> None:
    api, ids = seven
    query = {name: ids[at] for name, at in cursor.items()}
    page = api.messages.batches.list(limit=limit, extra_query=query)
    assert [ids.index(batch.id) for batch in page.data] == expected
    assert page.has_more is has_more
    assert (page.first_id, page.last_id) == ((ids[expected[0]], ids[expected[-1]]) if expected else (None, None))


def test_canceling_ends_every_request_as_canceled(tmp_path: Path) -> None:
    with serve(tmp_path, seconds=1) as url, simulator_client(url) as api:
        batch = create_batch(api, "a", "b")
        assert api.messages.batches.cancel(batch.id).processing_status == "canceling"
        again = api.messages.batches.cancel(batch.id)
        while (shown := api.messages.batches.retrieve(batch.id)).processing_status != "ended":
            time.sleep(0.05)
        assert (shown.request_counts.canceled, shown.cancel_initiated_at) == (2, again.cancel_initiated_at)
        assert {id: each.result.type for id, each in results_by_id(api, batch).items()} == dict.fromkeys(
            "ab", "canceled"
        )


def test_ended_batch_can_be_deleted_but_not_canceled(fast: anthropic.Anthropic) -> None:
    batch = create_batch(fast, "a")
    with pytest.raises(anthropic.BadRequestError, match="has ended"):
        fast.messages.batches.cancel(batch.id)
    assert fast.messages.batches.delete(batch.id).type == "message_batch_deleted"
    with pytest.raises(anthropic.NotFoundError):
        fast.messages.batches.retrieve(batch.id)
    assert batch.id not in [each.id for each in fast.messages.batches.list()]


def test_a_batch_in_progress_cannot_be_deleted(slow: anthropic.Anthropic) -> None:
    batch = create_batch(slow, "a")
    with pytest.raises(anthropic.BadRequestError, match="cancel it first"):
        slow.messages.batches.delete(batch.id)
    assert slow.messages.batches.retrieve(batch.id) == batch


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        ([], "requests: must have 1 to 100000 items"),
        ([batch_request("a"), batch_request("b"), batch_request("a")], "requests.2.custom_id: a is not unique"),
        ([batch_request("a b")], "requests.0.custom_id: String should match pattern"),
        ([batch_request("")], "requests.0.custom_id: String should match pattern"),
        ([batch_request("a\n")], "requests.0.custom_id: String should match pattern"),
        ([batch_request("é")], "requests.0.custom_id: String should match pattern"),
        ([batch_request("a" * 65)], "requests.0.custom_id: String should match pattern"),
        ([{"custom_id": "a"}], "required field `params`"),
        ([{"custom_id": "a", "params": []}], "requests.0.params: Input should be an object"),
        ([{"custom_id": 1, "params": {}}], "requests: Expected `str`"),
        ([{"custom_id": "a", "params": {}, "model": "m"}], "unknown field `model`"),
    ],
    ids=[
        "none",
        "duplicate",
        "space",
        "empty",
        "line feed",
        "letter",
        "long",
        "no params",
        "list",
        "type",
        "flat",
    ],
)
def test_invalid_batch_is_rejected_as_a_whole(
    fast: anthropic.Anthropic, requests: list[Any], message: str
) -> None:
    before = list(fast.messages.batches.list())
    with pytest.raises(anthropic.BadRequestError) as caught:
        fast.messages.batches.create(requests=requests)
    assert caught.value.type == "invalid_request_error" and message in str(caught.value)
    assert list(fast.messages.batches.list()) == before


def test_the_longest_custom_id_is_accepted(fast: anthropic.Anthropic) -> None:
    id = "aZ09_-" + "x" * 58
    assert list(results_by_id(fast, create_batch(fast, id))) == [id]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"requests": 1}',
        b'{"requests": ["\xff"]}',
        b'{"requests": [{"custom_id": "a", "params": {"x": ' + DEEP_JSON + b"}}]}",
    ],
    ids=lambda body: str(body[:30]),
)
def test_invalid_batch_body_is_a_bad_request(fast: anthropic.Anthropic, body: bytes) -> None:
    status, answer = raw_call(fast, "POST", "/v1/messages/batches", body)
    assert (status, answer["type"], answer["error"]["type"]) == (400, "error", "invalid_request_error")
