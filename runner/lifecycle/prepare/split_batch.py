"""Split a prepared batch, or rewrite its requests.

A batch is split to find a request that the API rejects, to stay under a cost cap, or to answer it synchronously
in pieces.
"""

from collections.abc import Callable, Sequence
from itertools import chain

from runner.errors import StateError
from runner.files.atomic import sync_folder
from runner.lifecycle.prepare.check_body import check_body
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
) -> int:
    """Replace a prepared batch with batches of these parts, which together have exactly its requests.

    Return the number of the first; the others follow it.

    `transform` converts the prepared params to those that are sent, which may be a few bytes longer. Raises
    StateError if the body is damaged, and FileChanged for a file that it attaches.
    """
    check_body(context, batch)
    folder = context.store.folder(context.run)

    def edited(where: tuple[int, int]) -> Params:
        try:
            params = stored.read(batch.round, batch.batch, *where)
        except ValueError as error:
            raise StateError(f"{folder.body(batch.round, batch.batch)} is damaged: {error}") from error
        return replace_sent(params, transform(params.sent))

    number = max(other.batch for other in context.store.batches(context.run) if other.round == batch.round)
    with open_bodies(folder, context.spec.root) as stored, context.store.transaction():
        bodies = chain.from_iterable(
            pack_requests(
                ((row, edited((offset, length))) for row, offset, length in part),
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
    return number + 1
