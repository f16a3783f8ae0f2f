"""The results of other people's batches are read only as far as their first id, whatever they contain."""

import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from runner.api.remote_batch import RemoteBatch
from runner.lifecycle.follow.remote_batches import read_custom_ids
from tests.support.hostile.misbehaviour import OPEN
from tests.support.hostile.server import hostile_api
from tests.support.outputs import message_line

FOREIGN = RemoteBatch("msgbatch_1", "ended", {"succeeded": 1}, 0, 0, None, None)


def read_ids(*pieces: bytes) -> tuple[list[str], int]:
    """The ids read from results sent in pieces, and how many pieces were taken."""
    sent: list[bytes] = []

    def answer(_: str, __: str) -> Iterator[bytes]:
        yield OPEN
        for piece in pieces:
            sent.append(piece)
            yield piece
        raise ConnectionError

    with hostile_api(answer) as api:
        return read_custom_ids(api, FOREIGN), len(sent)


def test_ids_of_the_first_whole_lines_are_read() -> None:
    line: Any = message_line("hi")
    assert read_ids(line.rstrip(b"\n") + b"\n", b'{"custom_id":"cut')[0] != []


@pytest.mark.parametrize(
    ("head", "ids"),
    [(b'{"custom_id":"somebody-1","result":"', ["somebody-1"]), (b'{"result":"', []), (b"", [])],
)
def test_first_line_without_an_end_is_not_read_whole(head: bytes, ids: list[str]) -> None:
    block = b"x" * 1_000_000
    tracemalloc.start()
    try:
        found, taken = read_ids(head, *[block] * 300)
        assert (found, taken < 100) == (ids, True)
        assert tracemalloc.get_traced_memory()[1] < 60_000_000
    finally:
        tracemalloc.stop()
