"""Simulated answers: valid against the schema, and the same for the same request."""

import json
from pathlib import Path
from typing import Any

import anthropic
import jsonschema_rs
import pytest

from runner.simulator.server import serve
from tests.support.simulator import BATCH_ITEM, answer_text, create_batch, results_by_id, simulator_client

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


def test_more_text_counts_as_more_tokens(fast: anthropic.Anthropic) -> None:
    def count(text: str) -> int:
        return fast.messages.count_tokens(model="m", messages=[{"role": "user", "content": text}]).input_tokens

    assert 0 < count("a") < count("a" * 400)


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
    config = {"format": {"type": "json_schema", "schema": SCHEMAS["object"]}}
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
