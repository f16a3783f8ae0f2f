"""Split a prepared batch, or rewrite its requests.

A batch is split to find a request that the API rejects, to stay under a cost cap, or to answer it synchronously
in pieces.
"""

from collections.abc import Callable, Sequence
from itertools import chain

from runner.files.atomic import sync_folder
from runner.requests.pack import pack_requests
from runner.requests.stored_params import Params, replace_sent
from runner.runs.context import RunContext
from runner.store.records import Batch
from runner.store.run_folder import open_bodies

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

    def edited(params: Params) -> Params:
        return replace_sent(params, transform(params.sent))

    folder = context.store.folder(context.run)
    number = max(other.batch for other in context.store.batches(context.run) if other.round == batch.round)
    with open_bodies(folder, context.spec.root) as stored, context.store.transaction():
        bodies = chain.from_iterable(
            pack_requests(
                ((row, edited(stored.read(batch.round, batch.batch, *where))) for row, *where in part),
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
