"""Rebuild the first round of a recovered run from the batches that were actually sent."""

import shutil
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from runner.errors import UsageError
from runner.files.atomic import sync_folder
from runner.requests.pack import Body, pack_requests
from runner.requests.stored_params import restore_params
from runner.spec.spec import Spec
from runner.store.index.row_finder import RowFinder
from runner.store.records import Run
from runner.store.run_folder import open_slices
from runner.store.store import Store

_MAX_BATCH_BYTES = 256_000_000


def rebuild_first_round(
    spec: Spec, store: Store, run: Run, sent_rows: Mapping[int, list[int]], *, now: float
) -> None:
    """Rebuild the first round of a recovered run as it was sent.

    `sent_rows` holds the rows of each batch by its number. The remaining rows go into further batches, which
    count as never sent. `now` is the time on the API's clock. Raises UsageError if a row was sent that the
    prepared run does not send.
    """
    folder, taken = store.folder(run), {row for rows in sent_rows.values() for row in rows}
    with store.row_index.open_finder(run) as finder:
        places = {
            number: [(row, *_sent_location(finder, run, row)) for row in sorted(rows)]
            for number, rows in sent_rows.items()
        }
    last = max([*sent_rows, *(batch.batch for batch in store.batches(run))])
    requests = (
        (row, batch.batch, *where)
        for batch in store.batches(run)
        for row, *where in store.row_index.requests_of(batch)
    )
    left = [request for request in requests if request[0] not in taken]
    before = folder.bodies.rename(folder.path / "laid_out")
    folder.create()
    with open_slices() as files, store.transaction():

        def packed(rows: list[Any], first: int, **limits: int) -> Iterator[Body]:
            pairs = (
                (row, restore_params(files.read(before / f"1-{batch}.json", *where), spec.root))
                for row, batch, *where in rows
            )
            return pack_requests(pairs, run=run.id, round=1, folder=folder.bodies, first_number=first, **limits)

        whole = {"max_bytes": 2 * _MAX_BATCH_BYTES}
        limits = {"max_requests": spec.batch.max_requests, "max_bytes": spec.batch.max_bytes}
        bodies = [packed(rows, number, max_requests=len(rows), **whole) for number, rows in places.items()]
        store.replace_batches(run, chain(*bodies, packed(left, last + 1, **limits)))
        for batch in store.batches(run):
            if batch.batch > last:
                store.transition(batch, "prepared", search_started_at=now)
        sync_folder(folder.bodies)
    shutil.rmtree(before)


def _sent_location(finder: RowFinder, run: Run, row: int) -> tuple[int, int, int]:
    found = finder.find(row)
    if found is None:
        raise UsageError(
            f"row {row} of run {run.id} was sent, but the current spec and input would not send it: restore both, "
            "including `reuse`"
        )
    return found.batch.batch, found.request[1], found.request[2]
