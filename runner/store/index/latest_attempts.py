"""Merge the batches of a run, so that each row comes once, with its latest attempt."""

from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from typing import Any, NamedTuple

from runner.store.records import Batch

_NO_ROW = 1 << 32

Record = tuple[Any, ...]
"""A record that begins with the number of its row."""


class Attempts(NamedTuple):
    """One attempt each at the rows of a batch, or of no batch: `read` yields records by ascending row.

    No row is before `first`, so that a batch is opened when its turn comes.
    """

    batch: Batch | None
    first: int
    read: Callable[[], Iterator[Record]]


def merge_latest(attempts: Sequence[Attempts]) -> Iterator[tuple[Batch | None, Record]]:
    """Yield the latest record of each row, ascending, with its batch; `attempts` are sorted, the newest last.

    Only the batches that have the rows in hand are open, usually one for each round.
    """
    waiting = sorted(enumerate(attempts), key=lambda one: -one[1].first)
    # Of equal rows, the one of the newest attempt is the smallest.
    opened: list[tuple[int, int, Record, Iterator[Record]]] = []
    last_row = -1
    while waiting or opened:
        while waiting and (not opened or waiting[-1][1].first <= opened[0][0]):
            number, one = waiting.pop()
            records = one.read()
            if (record := next(records, None)) is not None:
                heappush(opened, (record[0], -number, record, records))
        if not opened:
            continue
        row, rank, record, records = heappop(opened)
        batch = attempts[-rank].batch
        if row > last_row:
            yield batch, record
            last_row = row
        limit = min(opened[0][0] if opened else _NO_ROW, waiting[-1][1].first if waiting else _NO_ROW)
        for record in records:
            row = record[0]
            if row >= limit:
                heappush(opened, (row, rank, record, records))
                break
            yield batch, record
            last_row = row
