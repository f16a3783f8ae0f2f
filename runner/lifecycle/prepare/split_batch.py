"""Split a prepared batch, or rewrite its requests.

A batch is split to find a request that the API rejects, to stay under a cost cap, or to answer it synchronously
in pieces.
"""

from collections.abc import Callable, Sequence
from itertools import chain

from runner.files.atomic import sync_folder
from runner.requests.pack import pack_requests
from runner.runs.context import RunContext
from runner.store.records import Batch
from runner.store.run_folder import open_slices

_EXTRA_ID_BYTES = 20


_EXTRA_PARAMS_BYTES = 1_000


RequestLocation = tuple[int, int, int]
"""(row, offset, length in bytes) of the params of one request in the body of its batch."""


def _unchanged(params: bytes) -> bytes:
    return params


def split_batch(
    context: RunContext,
    batch: Batch,
    parts: Sequence[Sequence[RequestLocation]],
    *,
    transform: Callable[[bytes], bytes] = _unchanged,
) -> None:
    """Replace a prepared batch with batches of these parts, which together have exactly its requests.

    `transform` converts the prepared params to those that are sent, which may be a few bytes longer.
    """
    folder = context.store.folder(context.run)
    number = max(other.batch for other in context.store.batches(context.run) if other.round == batch.round)
    with open_slices() as files, context.store.transaction():
        bodies = chain.from_iterable(
            pack_requests(
                (
                    (row, transform(files.read(folder.body(batch.round, batch.batch), offset, size)))
                    for row, offset, size in part
                ),
                run=context.run.id,
                round=batch.round,
                folder=folder.bodies,
                max_requests=len(part),
                max_bytes=batch.bytes
                + (_EXTRA_ID_BYTES if transform is _unchanged else _EXTRA_PARAMS_BYTES) * len(part),
                first_number=number + index,
            )
            for index, part in enumerate(parts, 1)
        )
        context.store.replace_batch(batch, bodies)
        sync_folder(folder.bodies)
