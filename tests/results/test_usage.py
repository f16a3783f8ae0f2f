"""Token usage: read with care, added up, and kept as received."""

import json
from typing import Any

import msgspec
import pytest

from runner.results.outcome import parse_result
from runner.results.usage import Usage, parse_usage
from tests.support.outputs import message_line


def test_usage_adds_up_and_missing_tokens_count_as_zero() -> None:
    total = Usage()
    total.add(parse_usage(msgspec.Raw(b'{"input_tokens": 1, "output_tokens": 2, "service_tier": "batch"}')))
    total.add(Usage(0, 0, None, 5))
    total.add(Usage(10, 20, 30, None))
    assert total == Usage(11, 22, 30, 5)


@pytest.mark.parametrize("usage", [None, [], "x", {"input_tokens": None}, {"output_tokens": "3"}, {}])
def test_unreadable_usage_keeps_the_answer_and_is_named(usage: Any) -> None:
    found = parse_result(message_line("hi", usage=usage))
    assert (found.outcome, found.output) == ("succeeded", "hi")
    assert parse_usage(found.usage).unreadable


@pytest.mark.parametrize(
    ("changes", "unreadable"),
    [
        ({"output_tokens": "200"}, {"output_tokens"}),
        ({"cache_creation": 5}, {"cache_creation"}),
        ({"server_tool_use": [1], "inference_geo": {}}, {"server_tool_use", "inference_geo"}),
        ({"cache_read_input_tokens": -1}, {"cache_read_input_tokens"}),
        ({"service_tier": {"new": 1}, "speed": 3, "unreadable": {"x": "y"}, "cache_creation": None}, set()),
    ],
)
def test_one_unreadable_field_does_not_hide_the_others(changes: dict[str, Any], unreadable: set[str]) -> None:
    usage = {"input_tokens": 7, "output_tokens": 8, **changes}
    found = parse_usage(msgspec.Raw(json.dumps(usage).encode()))
    assert (found.input_tokens, set(found.unreadable)) == (7, unreadable)


@pytest.mark.parametrize("usage", [b'"\xff"', b'"\\ud800"', b'{"a": 1e999}'])
def test_unreadable_usage_does_not_lose_the_answer(usage: bytes) -> None:
    found = parse_result(message_line("hi", usage="here").replace(b'"here"', usage))
    assert (found.outcome, found.output) == ("succeeded", "hi")
    assert found.usage is None or json.loads(bytes(found.usage))


@pytest.mark.parametrize("count", ["1e308", "-1", "1" + "0" * 30, "1" + "0" * 400])
def test_impossible_token_counts_are_unreadable(count: str) -> None:
    total = Usage(1)
    for _ in range(2):
        total.add(parse_usage(msgspec.Raw(f'{{"input_tokens": {count}, "output_tokens": 2}}'.encode())))
    assert total == Usage(1, 4, unreadable={"input_tokens": 2})


def test_usage_is_kept_as_received() -> None:
    usage = {"input_tokens": 1, "not_known_yet": {"a": [1.50, 10**30]}}
    found = parse_result(message_line("hi", usage=usage))
    assert msgspec.json.encode(found.usage) == json.dumps(usage).encode()
