"""Simulated servers with clients, shared by the tests of this folder."""

from collections.abc import Iterator

import anthropic
import pytest

from runner.simulator.server import serve
from tests.support.simulator import create_batch, simulator_client


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
