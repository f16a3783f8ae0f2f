"""A prepared batch in parts: to find a request that is refused, to stay under a cap, to be answered bit by bit."""

from collections.abc import Sequence
from itertools import chain

from runner.durable import sync_folder
from runner.lifecycle.job import Job
from runner.request import pack
from runner.store import Batch, pieces

_LONGER_ID = 20

Request = tuple[int, int, int]
"""(row, offset, length in bytes) of the params of one request in the body of its batch."""


def divide(job: Job, batch: Batch, parts: Sequence[Sequence[Request]]) -> None:
    """Put batches of these requests in the place of a prepared batch, which has exactly them."""
    folder = job.store.folder(job.run)
    number = max(other.batch for other in job.store.batches(job.run) if other.round == batch.round)
    with pieces() as files, job.store.transaction():
        bodies = chain.from_iterable(
            pack(
                (
                    (row, files.read(folder.body(batch.round, batch.batch), offset, size))
                    for row, offset, size in part
                ),
                run=job.run.id,
                round=batch.round,
                folder=folder.bodies,
                max_requests=len(part),
                max_bytes=batch.bytes + _LONGER_ID * len(part),
                first=number + index,
            )
            for index, part in enumerate(parts, 1)
        )
        job.store.part(batch, bodies)
        sync_folder(folder.bodies)
