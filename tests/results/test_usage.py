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
    total.add(parse_usage(msgspec.Raw(b'{"cache_creation_input_tokens": null, "cache_read_input_tokens": 5}')))
    total.add(Usage(10, 20, 30, None))
    assert total == Usage(11, 22, 30, 5)


@pytest.mark.parametrize("usage", [None, [], "x", {"input_tokens": None}, {"output_tokens": "3"}, {}])
def test_unknown_usage_counts_as_zero(usage: Any) -> None:
    found = parse_result(message_line("hi", usage=usage))
    assert (found.outcome, found.output) == ("succeeded", "hi")
    total = Usage()
    total.add(parse_usage(found.usage or msgspec.Raw(b"{}")))
    assert total == Usage()


@pytest.mark.parametrize("usage", [b'"\xff"', b'"\\ud800"', b'{"a": 1e999}'])
def test_unreadable_usage_does_not_lose_the_answer(usage: bytes) -> None:
    found = parse_result(message_line("hi", usage="here").replace(b'"here"', usage))
    assert (found.outcome, found.output) == ("succeeded", "hi")
    assert found.usage is None or json.loads(bytes(found.usage))


@pytest.mark.parametrize("count", ["1e308", "-1", "1" + "0" * 30, "1" + "0" * 400])
def test_impossible_token_counts_count_as_zero(count: str) -> None:
    total = Usage(1)
    for _ in range(2):
        total.add(parse_usage(msgspec.Raw(f'{{"input_tokens": {count}}}'.encode())))
    assert total == Usage(1)


def test_usage_is_kept_as_received() -> None:
    usage = {"input_tokens": 1, "not_known_yet": {"a": [1.50, 10**30]}}
    found = parse_result(message_line("hi", usage=usage))
    assert msgspec.json.encode(found.usage) == json.dumps(usage).encode()
