"""The simulated API over a real socket, through the SDK: what it accepts, answers, refuses and remembers."""

import http.client
import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import jsonschema_rs
import pytest
from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse
from anthropic.types.messages.batch_create_params import Request

from runner.simulator.faults import DropConnection, ErrorResponse
from runner.simulator.server import serve

MESSAGE_PARAMS: dict[str, Any] = {
    "model": "claude-haiku-4-5",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "Alpha bravo charlie delta"}],
}
BATCH_ITEM = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
NODE = {
    "type": "object",
    "properties": {"v": {"type": "boolean"}, "kids": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
    "required": ["v", "kids"],
    "additionalProperties": False,
}
ITEM_OPEN = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
LINK = {
    "type": "object",
    "properties": {"v": {"type": "string"}, "next": {"$ref": "#/$defs/link"}},
    "required": ["v"],
}
ENDLESS = {"type": "object", "properties": {"a": {"$ref": "#/$defs/endless"}}, "required": ["a"]}
UNUSABLE: dict[str, Any] = {
    "bad type": {"type": "strin"},
    "dangling": {"$ref": "#/$defs/nowhere"},
    "external": {"$ref": "https://example.com/schema.json"},
    "text": "x",
    "null": None,
    "bad pattern": {"type": "string", "pattern": "("},
    "empty range": {"type": "integer", "minimum": 5, "maximum": 2},
    "no choice": {"enum": []},
    "endless": {"$defs": {"endless": ENDLESS}, "$ref": "#/$defs/endless"},
    "anchor": {"$defs": {"item": {"$anchor": "x", "type": "integer"}}, "$ref": "#x"},
    "class of letters": {"type": "string", "pattern": r"^\p{L}+$"},
}
DEEP_JSON = b"[" * 5000 + b"]" * 5000
SCHEMAS: dict[str, Any] = {
    "object": {
        **BATCH_ITEM,
        "properties": {"n": {"type": "integer"}, "t": {"type": "string"}},
        "required": ["n", "t"],
    },
    "$ref": {"$defs": {"item": BATCH_ITEM}, "$ref": "#/$defs/item"},
    "definitions": {"definitions": {"item": BATCH_ITEM}, "type": "array", "items": {"$ref": "#/definitions/item"}},
    "recursion": {"$defs": {"node": NODE}, "$ref": "#/$defs/node"},
    "anyOf": {
        "type": "array",
        "items": {"anyOf": [BATCH_ITEM, {"type": "null"}, {"type": "string"}]},
        "minItems": 4,
    },
    "oneOf": {"oneOf": [{"type": "integer"}, {"type": "boolean"}]},
    "enum": {"type": "string", "enum": ["red", "green"]},
    "enum of all kinds": {"enum": ["a", 1, None, [2], {"b": 3}]},
    "const": {"const": {"a": [1]}},
    "types": {"type": ["string", "null"]},
    "null": {"type": "null"},
    "nested arrays": {
        "type": "array",
        "items": {"type": "array", "items": BATCH_ITEM, "minItems": 2},
        "minItems": 3,
    },
    "length": {"type": "string", "minLength": 40, "maxLength": 45},
    "short": {"type": "string", "maxLength": 3},
    "integer": {"type": "integer", "minimum": 5, "maximum": 7},
    "exclusive": {"type": "integer", "exclusiveMinimum": 5, "exclusiveMaximum": 7},
    "multiple": {"type": "integer", "multipleOf": 7, "minimum": 50},
    "number": {"type": "number", "minimum": 0, "maximum": 1},
    "cents": {"type": "number", "multipleOf": 0.01},
    "code": {"type": "string", "pattern": r"^[A-Z]{3}-\d{4}$"},
    "either": {"type": "string", "pattern": r"^(foo|ba[rz])(-[0-9]+)?$"},
    "words": {"type": "string", "pattern": r"^\w+@\w+\.com$"},
    "hash": {"type": "string", "pattern": "^[a-f0-9]{64}$"},
    "empty": {},
    "a property that may be anything": {"type": "object", "properties": {"a": True}, "required": ["a"]},
    "items that may be anything": {"type": "array", "items": True},
    "escaped $ref": {"$defs": {"a/b": {"type": "integer"}}, "$ref": "#/$defs/a~1b"},
    "$ref by index": {"anyOf": [{"type": "integer"}, {"$ref": "#/anyOf/0"}]},
    "$ref with siblings": {"$defs": {"t": {"type": "string"}}, "$ref": "#/$defs/t", "minLength": 30},
    "optional recursion": {"$defs": {"link": LINK}, "$ref": "#/$defs/link"},
    "allOf": {"allOf": [ITEM_OPEN, {"properties": {"b": {"type": "string"}}, "required": ["b"]}]},
    "anyOf with siblings": {**ITEM_OPEN, "anyOf": [{"properties": {"b": {"type": "null"}}, "required": ["b"]}]},
    "negative": {"type": "integer", "maximum": -5},
    "below zero": {"type": "integer", "exclusiveMaximum": 0},
    "fives": {"type": "number", "multipleOf": 5},
    "prefixItems": {"type": "array", "prefixItems": [{"type": "integer"}], "items": False, "minItems": 1},
    "no item": {"type": "array", "items": {"type": "integer"}, "maxItems": 0},
    "required without properties": {"type": "object", "required": ["a"]},
    "minProperties": {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 1},
    "none of": {"type": "string", "pattern": "^[^a-z]+$"},
    "space": {"type": "string", "pattern": r"^a\sb$"},
    "pattern and length": {"type": "string", "pattern": "^[a-z]+$", "minLength": 10},
    **{
        format: {"type": "string", "format": format}
        for format in ("date", "date-time", "time", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
    },
}


def simulator_client(url: str, api_key: str = "a key") -> anthropic.Anthropic:
    """The SDK, talking to a simulator without retries and without a proxy."""
    # Reading the system's certificates takes longer than most tests, and loopback needs none.
    transport = anthropic.DefaultHttpxClient(trust_env=False, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    return anthropic.Anthropic(base_url=url, api_key=api_key, http_client=transport, max_retries=0)


@pytest.fixture(scope="module")
def fast(tmp_path_factory: pytest.TempPathFactory) -> Iterator[anthropic.Anthropic]:
    """A client of a simulator whose batches end at once."""
    with serve(tmp_path_factory.mktemp("fast"), seconds=0) as url, simulator_client(url) as api:
        yield api


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[anthropic.Anthropic]:
    """A client of a simulator whose batches do not end by themselves."""
    with serve(tmp_path_factory.mktemp("slow"), seconds=3600) as url, simulator_client(url) as api:
        yield api


@pytest.fixture(scope="module")
def seven(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[anthropic.Anthropic, list[str]]]:
    """A client of a simulator that has seven batches, and their ids, newest first."""
    with serve(tmp_path_factory.mktemp("seven")) as url, simulator_client(url) as api:
        yield api, [create_batch(api, "a").id for _ in range(7)][::-1]


def batch_request(custom_id: str, **params: Any) -> Request:
    """One request of a batch; `params` are added to what each has."""
    return {"custom_id": custom_id, "params": {**MESSAGE_PARAMS, **params}}  # type: ignore[typeddict-item]


def create_batch(api: anthropic.Anthropic, *ids: str, **params: Any) -> MessageBatch:
    """A batch of one request for each id."""
    return api.messages.batches.create(requests=[batch_request(id, **params) for id in ids])


def results_by_id(api: anthropic.Anthropic, batch: MessageBatch) -> dict[str, MessageBatchIndividualResponse]:
    """The results of a batch that has ended, by custom_id in the order of the file."""
    return {result.custom_id: result for result in api.messages.batches.results(batch.id)}


def answer_text(api: anthropic.Anthropic, schema: Any, text: str = "Alpha bravo charlie") -> str:
    """The text of the answer to one message under an output schema."""
    config = {"format": {"type": "json_schema", "schema": schema}}
    turns = [{"role": "user", "content": text}]
    message = api.messages.create(**{**MESSAGE_PARAMS, "messages": turns, "output_config": config})
    return str(message.content[0].text)


def raw_call(
    api: anthropic.Anthropic, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, Any]:
    """The status and body of a call made by hand."""
    connection = http.client.HTTPConnection(str(api.base_url.host), api.base_url.port, timeout=10)
    try:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, {"x-api-key": "a key", **sent})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


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


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
@pytest.mark.parametrize(
    "body",
    [b"nope", b"[]", b'{"model": "\xff"}', b'{"model": ' + DEEP_JSON + b"}"],
    ids=lambda body: str(body[:20]),
)
def test_invalid_message_body_is_a_bad_request(fast: anthropic.Anthropic, path: str, body: bytes) -> None:
    status, answer = raw_call(fast, "POST", path, body)
    assert (status, answer["type"], answer["error"]["type"]) == (400, "error", "invalid_request_error")


@pytest.mark.parametrize("length", ["abc", "-5"])
def test_invalid_content_length_is_a_bad_request(fast: anthropic.Anthropic, length: str) -> None:
    status, answer = raw_call(fast, "POST", "/v1/messages", content_length=length)
    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize("call", ["retrieve", "cancel", "delete", "results"])
def test_unknown_id_is_not_found(fast: anthropic.Anthropic, call: str) -> None:
    with pytest.raises(anthropic.NotFoundError) as caught:
        getattr(fast.messages.batches, call)("msgbatch_unknown")
    assert (caught.value.type, caught.value.request_id is not None) == ("not_found_error", True)


@pytest.mark.parametrize("path", ["/v1/messages/batches", "/v1/models", "/v1/messages/batches/msgbatch_1"])
def test_a_call_without_a_key_is_not_authenticated(fast: anthropic.Anthropic, path: str) -> None:
    status, body = raw_call(fast, "GET", path, x_api_key="")
    assert (status, body["error"]["type"]) == (401, "authentication_error")


def test_a_bearer_token_is_a_key_too(fast: anthropic.Anthropic) -> None:
    assert raw_call(fast, "GET", "/v1/models", x_api_key="", authorization="Bearer t")[0] == 200


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/messages/batches/a/b", "/"])
def test_unknown_path_is_not_found(fast: anthropic.Anthropic, path: str) -> None:
    status, body = raw_call(fast, "GET", path)
    assert (status, body["error"]["type"]) == (404, "not_found_error")


def test_a_body_over_256_megabytes_is_too_large(fast: anthropic.Anthropic) -> None:
    status, body = raw_call(fast, "POST", "/v1/messages/batches", content_length="256000001")
    assert (status, body["error"]["type"]) == (413, "request_too_large")


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", "1.5"])
def test_a_list_limit_outside_1_to_1000_is_refused(fast: anthropic.Anthropic, limit: str) -> None:
    status, body = raw_call(fast, "GET", f"/v1/messages/batches?limit={limit}")
    assert (status, body["error"]["type"]) == (400, "invalid_request_error")


def test_a_chunked_body_is_read_whole(fast: anthropic.Anthropic) -> None:
    body = json.dumps({"requests": [batch_request("a"), batch_request("b")]}).encode()
    pieces = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:99], body[99:])) + b"0\r\n\r\n"
    status, batch = raw_call(fast, "POST", "/v1/messages/batches", pieces, transfer_encoding="chunked")
    assert (status, batch["request_counts"]["succeeded"]) == (200, 2)


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


@pytest.mark.parametrize(
    "params",
    [
        {"stream": False},
        {"messages": [{"role": "user", "content": 'say "temperature" and "stream" twice'}]},
        {"metadata": {"user_id": "stream"}, "stop_sequences": ["top_p"]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Alpha"}]}]},
    ],
)
def test_valid_request_succeeds_with_any_words(fast: anthropic.Anthropic, params: dict[str, Any]) -> None:
    assert results_by_id(fast, create_batch(fast, "a", **params))["a"].result.type == "succeeded"


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


def test_more_text_counts_as_more_tokens(fast: anthropic.Anthropic) -> None:
    def count(text: str) -> int:
        return fast.messages.count_tokens(model="m", messages=[{"role": "user", "content": text}]).input_tokens

    assert 0 < count("a") < count("a" * 400)


def test_models_are_listed_and_found(fast: anthropic.Anthropic) -> None:
    ids = [model.id for model in fast.models.list()]
    assert len(set(ids)) == len(ids) > 0
    assert fast.models.retrieve(ids[0]).id == ids[0]
    with pytest.raises(anthropic.NotFoundError):
        fast.models.retrieve("no-such-model")


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_answers_are_valid_against_the_schema_of_the_request(fast: anthropic.Anthropic, name: str) -> None:
    validator = jsonschema_rs.validator_for(SCHEMAS[name], validate_formats=True)
    texts = [answer_text(fast, SCHEMAS[name], f"Request number {n} of alpha") for n in range(8)]
    assert [text for text in texts if not validator.is_valid(json.loads(text))] == []


@pytest.mark.parametrize("name", sorted(UNUSABLE))
def test_unsatisfiable_schema_ends_as_errored(fast: anthropic.Anthropic, name: str) -> None:
    config = {"format": {"type": "json_schema", "schema": UNUSABLE[name]}}
    result = results_by_id(fast, create_batch(fast, "a", output_config=config))["a"].result
    assert result.type == "errored" and result.error.error.type == "invalid_request_error"
    assert "output_config.format.schema" in result.error.error.message


def test_different_requests_get_different_answers(fast: anthropic.Anthropic) -> None:
    words = [f"alpha{letter} bravo{letter}" for letter in "abcdefgh"]
    answers = [json.loads(answer_text(fast, {"type": "string"}, text)) for text in words]
    assert len(set(answers)) == len(answers)
    assert all(set(answer.split()) <= set(text.split()) for answer, text in zip(answers, words, strict=True))


def test_same_request_gets_the_same_answer_everywhere(tmp_path: Path) -> None:
    config = {"format": {"type": "json_schema", "schema": SCHEMAS["anyOf"]}}
    found = []
    for name in ("one", "two"):
        with serve(tmp_path / name, seconds=0) as url, simulator_client(url) as api:
            both = results_by_id(api, create_batch(api, "a", "b", output_config=config))
            found += [both["a"].result, both["b"].result]
    assert all(result == found[0] for result in found) and found[0].type == "succeeded"


def test_batches_survive_a_restart_on_the_same_folder(tmp_path: Path) -> None:
    with serve(tmp_path, seconds=0) as url, simulator_client(url) as api:
        ids = [create_batch(api, *"abc"[: n + 1]).id for n in range(3)]
        before = [result.to_json() for result in api.messages.batches.results(ids[2])]
        api.messages.batches.delete(ids[0])
    with serve(tmp_path, seconds=0) as url, simulator_client(url) as api:
        assert [batch.id for batch in api.messages.batches.list()] == [ids[2], ids[1]]
        assert [result.to_json() for result in api.messages.batches.results(ids[2])] == before
        assert api.messages.batches.retrieve(ids[2]).request_counts.succeeded == 3


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


def test_only_the_requested_port_is_used(tmp_path: Path) -> None:
    with serve(tmp_path) as url:
        port = int(url.rsplit(":", 1)[1])
        assert url == f"http://127.0.0.1:{port}"
        with pytest.raises(OSError, match="in use"), serve(tmp_path, port=port):
            raise AssertionError("two servers on one port")
