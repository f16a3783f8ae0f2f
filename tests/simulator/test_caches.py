"""Simulated prompt caches: read by later batches once the batch that wrote them has ended, and by nobody else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest

from runner.simulator.server import serve
from tests.support.simulator import MESSAGE_PARAMS, create_batch, results_by_id, simulator_client

TEXT = "Rules for labels. " * 2000


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def api(tmp_path: Path, clock: Clock) -> Iterator[anthropic.Anthropic]:
    with serve(tmp_path, seconds=60, clock=clock) as url, simulator_client(url) as client:
        yield client


def system(ttl: str = "1h", text: str = TEXT) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text, "cache_control": {"type": "ephemeral", "ttl": ttl}}]


def send(api: anthropic.Anthropic, clock: Clock, requests: int = 1, **params: Any) -> list[tuple[int, int]]:
    """Send a batch and wait until it has ended; return the tokens (written, read) of each request."""
    batch = create_batch(api, *(f"r{n}" for n in range(requests)), **params)
    clock.now += 120
    found = [one.result.model_dump()["message"]["usage"] for one in results_by_id(api, batch).values()]
    assert all(one["cache_creation_input_tokens"] == sum(one["cache_creation"].values()) for one in found)
    return [(one["cache_creation_input_tokens"], one["cache_read_input_tokens"]) for one in found]


def test_requests_of_one_batch_do_not_read_each_others_writes(api: anthropic.Anthropic, clock: Clock) -> None:
    [tokens] = {*send(api, clock, 5, system=system())}
    assert tokens[0] > len(TEXT) // 5 and tokens[1] == 0


def test_batch_after_an_ended_one_reads_what_it_wrote(api: anthropic.Anthropic, clock: Clock) -> None:
    [(written, _)] = send(api, clock, system=system())
    assert {*send(api, clock, 5, system=system())} == {(0, written)}


def test_batch_beside_one_that_has_not_ended_reads_nothing(api: anthropic.Anthropic, clock: Clock) -> None:
    create_batch(api, "first", system=system())
    assert send(api, clock, system=system())[0][1] == 0


@pytest.mark.parametrize(("seconds", "is_read"), [(3000, True), (3700, False)])
def test_cache_lasts_an_hour(api: anthropic.Anthropic, clock: Clock, seconds: int, is_read: bool) -> None:
    send(api, clock, system=system())
    clock.now += seconds
    assert (send(api, clock, system=system())[0][1] > 0) == is_read


def test_reading_a_cache_prolongs_it(api: anthropic.Anthropic, clock: Clock) -> None:
    for _ in range(4):
        last = send(api, clock, system=system())
        clock.now += 2400
    assert last[0][1] > 0


def test_cache_of_another_model_is_not_read(api: anthropic.Anthropic, clock: Clock) -> None:
    send(api, clock, system=system())
    assert send(api, clock, system=system(), model="claude-haiku-5-5")[0][1] == 0


def test_prefix_below_the_minimum_is_not_cached(api: anthropic.Anthropic, clock: Clock) -> None:
    assert send(api, clock, system=system(text="Short rules.")) == [(0, 0)]
    assert send(api, clock, system=system(text="Short rules.")) == [(0, 0)]


def test_longest_known_prefix_is_read_and_the_rest_written(api: anthropic.Anthropic, clock: Clock) -> None:
    [(first, _)] = send(api, clock, system=system())
    [(rest, read)] = send(api, clock, system=[*system(), *system("5m", "More. " * 5000)])
    assert read == first and rest > 0
    [(written, read)] = send(api, clock, system=[*system(), *system("5m", "More. " * 5000)])
    assert (written, read) == (0, first + rest)


def test_synchronous_write_is_read_by_messages_only(api: anthropic.Anthropic, clock: Clock) -> None:
    usages = [api.messages.create(**{**MESSAGE_PARAMS, "system": system()}).usage for _ in range(2)]
    assert usages[0].cache_read_input_tokens == 0
    assert usages[1].cache_read_input_tokens == usages[0].cache_creation_input_tokens
    assert send(api, clock, system=system())[0][1] == 0


def test_restarted_simulator_remembers_its_caches(tmp_path: Path, clock: Clock) -> None:
    for is_read in (False, True):
        with serve(tmp_path, seconds=60, clock=clock) as url, simulator_client(url) as api:
            assert (send(api, clock, system=system())[0][1] > 0) == is_read
