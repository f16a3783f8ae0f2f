"""Write prepared requests again without cache marks, where the prompt cache would cost more than it saves."""

import re
from dataclasses import replace

from runner.lifecycle.prepare.split_batch import split_batch
from runner.lifecycle.prepare.write_round import write_round
from runner.requests.stored_params import Params, replace_sent
from runner.runs.context import RunContext
from runner.store.records import Batch
from runner.store.run_folder import open_bodies

_MARK = rb'"cache_control":\{(?:"type":"ephemeral","ttl":"1h"|"ttl":"1h","type":"ephemeral")\}'
_MARKS = re.compile(rb",%b|%b," % (_MARK, _MARK))


def _remove_marks(params: bytes) -> bytes:
    # In JSON the quotes of texts are escaped, so this finds only marks.
    return _MARKS.sub(b"", params)


def remove_marks_of_batch(context: RunContext, batch: Batch) -> None:
    """Write the requests of a prepared batch again, without cache marks."""
    requests = context.store.row_index.requests_of(batch)
    split_batch(context, replace(batch, cache=None), [requests], transform=_remove_marks)


def remove_marks_of_run(context: RunContext) -> None:
    """Write the first round of a run that was not started again, without cache marks."""
    store, folder = context.store, context.store.folder(context.run)
    batches = store.batches(context.run)
    marked = [batch for batch in batches if batch.cache is not None]
    if not marked:
        return
    with open_bodies(folder, context.spec.root) as bodies, store.transaction():

        def unmark(batch: Batch, offset: int, length: int) -> Params:
            params = bodies.read(1, batch.batch, offset, length)
            return replace_sent(params, _remove_marks(params.sent))

        requests = (
            (row, unmark(batch, *place)) for batch in marked for row, *place in store.row_index.requests_of(batch)
        )
        write_round(
            context,
            requests,
            round=1,
            max_requests=context.spec.batch.max_requests,
            max_bytes=context.spec.batch.max_bytes,
            first_number=max(batch.batch for batch in batches) + 1,
        )
        for batch in marked:
            store.remove_batch(batch)
    for batch in marked:
        folder.body(1, batch.batch).unlink()
