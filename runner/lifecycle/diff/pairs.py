"""Pair the rows of two runs by key, in one pass over both."""

from collections.abc import Iterator
from contextlib import closing
from itertools import zip_longest

import msgspec

from runner.lifecycle.diff.compare import RowState
from runner.store.temporary.waiting_rows import WaitingRows

RowPair = tuple[RowState | None, RowState | None]

_encode, _decode = msgspec.json.Encoder().encode, msgspec.json.Decoder(RowState).decode


def pair_rows(old: Iterator[RowState], new: Iterator[RowState]) -> Iterator[RowPair]:
    """Yield the rows with equal keys together, as soon as both are read; the others at the end, with None.

    Both runs are read in step, so that rows in the same order never wait. A row whose partner was not read yet
    waits on disk. Keys are equal if their texts are, as in one run.
    """
    with closing(WaitingRows()) as old_waiting, closing(WaitingRows()) as new_waiting:
        for before, after in zip_longest(old, new):
            if before is not None and after is not None and str(before.key) == str(after.key):
                yield before, after
                continue
            if before is not None and (partner := _take_or_wait(before, new_waiting, old_waiting)) is not None:
                yield before, partner
            if after is not None and (partner := _take_or_wait(after, old_waiting, new_waiting)) is not None:
                yield partner, after
        yield from ((_decode(row), None) for row in old_waiting)
        yield from ((None, _decode(row)) for row in new_waiting)


def _take_or_wait(row: RowState, others: WaitingRows, own: WaitingRows) -> RowState | None:
    """Return the partner of a row if it is waiting; else let the row wait."""
    found = others.pop(str(row.key))
    if found is not None:
        return _decode(found)
    own.put(str(row.key), _encode(row))
    return None
