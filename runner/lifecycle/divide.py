"""Split a prepared batch, or rewrite its requests.

A batch is split to find a request that the API rejects, to stay under a cost cap, or to answer it synchronously
in pieces.
"""

from collections.abc import Callable, Sequence
from itertools import chain

from runner.body import pack
from runner.durable import sync_folder
from runner.lifecycle.job import Job
from runner.store.folder import pieces
from runner.store.records import Batch

_LONGER_ID = 20
_LONGER = 1_000

Request = tuple[int, int, int]
"""(row, offset, length in bytes) of the params of one request in the body of its batch."""


def _as_it_is(params: bytes) -> bytes:
    return params


def divide(
    job: Job,
    batch: Batch,
    parts: Sequence[Sequence[Request]],
    *,
    change: Callable[[bytes], bytes] = _as_it_is,
) -> None:
    """Replace a prepared batch with batches of these parts, which together have exactly its requests.

    `change` converts the prepared params to those that are sent, which may be a few bytes longer.
    """
    folder = job.store.folder(job.run)
    number = max(other.batch for other in job.store.batches(job.run) if other.round == batch.round)
    with pieces() as files, job.store.transaction():
        bodies = chain.from_iterable(
            pack(
                (
                    (row, change(files.read(folder.body(batch.round, batch.batch), offset, size)))
                    for row, offset, size in part
                ),
                run=job.run.id,
                round=batch.round,
                folder=folder.bodies,
                max_requests=len(part),
                max_bytes=batch.bytes + (_LONGER_ID if change is _as_it_is else _LONGER) * len(part),
                first=number + index,
            )
            for index, part in enumerate(parts, 1)
        )
        job.store.part(batch, bodies)
        sync_folder(folder.bodies)
