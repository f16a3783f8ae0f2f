"""Write requests as the prepared batches of a round."""

from collections.abc import Iterable

from runner.files.atomic import sync_folder
from runner.requests.pack import pack_requests
from runner.requests.stored_params import Params
from runner.runs.context import RunContext


def write_round(
    context: RunContext,
    requests: Iterable[tuple[int, Params]],
    *,
    round: int,
    max_requests: int,
    max_bytes: int,
    first_number: int = 1,
    send_mode: str = "batch",
    cache: str | None = None,
) -> int:
    """Pack (row, params) into bodies and record them as prepared batches; return the number of batches.

    `cache` is that of `Batch`. The rows may have been sent in an earlier batch: this one becomes their latest. To
    be called inside a transaction; the bodies are durable at its end.
    """
    store, bodies = context.store, context.store.folder(context.run).bodies
    count = 0
    with store.row_index.open_finder(context.run) as earlier:
        for body in pack_requests(
            requests,
            run=context.run.id,
            round=round,
            folder=bodies,
            max_requests=max_requests,
            max_bytes=max_bytes,
            first_number=first_number,
        ):
            store.add_batch(context.run, round, body, send_mode=send_mode, earlier=earlier, cache=cache)
            count += 1
    sync_folder(bodies)
    return count
