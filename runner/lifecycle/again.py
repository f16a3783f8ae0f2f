"""Prepare the next round: rows that can still succeed are sent again with their previous params."""

from collections.abc import Iterator

import msgspec

from runner.body import largest, pack
from runner.durable import sync_folder
from runner.errors import StateError
from runner.form import Form
from runner.lifecycle.conversation import continued, repaired
from runner.lifecycle.job import Job
from runner.lifecycle.rows import Rows, rows_of
from runner.outcome import PAUSED, read
from runner.store.folder import Pieces, pieces
from runner.store.state import WHATEVER_ATTEMPTS


def prepare_again(job: Job, form: Form) -> bool:
    """Write the next round from the rows that may be sent again; return whether there are any.

    Raises StateError if the files of the run do not confirm that a row may be sent again.
    """
    round = max((batch.round for batch in job.store.batches(job.run)), default=0) + 1
    if job.run.is_canceled or round == 1:
        return False
    least = 1 if round <= job.spec.retry.attempts else WHATEVER_ATTEMPTS
    folder = job.store.folder(job.run)
    with job.store.transaction(), pieces() as files, rows_of(job) as rows:
        # The limit may have been lowered since: a request that fitted before must still fit.
        longest = max(batch.bytes for batch in job.store.batches(job.run)) + 64
        limits = {
            "max_requests": job.spec.batch.max_requests,
            "max_bytes": max(job.spec.batch.max_bytes, longest),
        }
        bodies = 0
        for body in pack(
            _again(job, files, rows, form, least), run=job.run.id, round=round, folder=folder.bodies, **limits
        ):
            job.store.add_batch(job.run, round, body)
            bodies += 1
        job.store.recount(job.run)
        sync_folder(folder.bodies)
    return bodies > 0


def _again(job: Job, files: Pieces, rows: Rows, form: Form, least: int) -> Iterator[tuple[int, bytes]]:
    """Yield (row, params) of the rows to send again.

    Their results are read again, so that a damaged mark in the database cannot make anyone pay twice.
    """
    folder, longest = job.store.folder(job.run), largest(job.spec.batch.max_bytes)
    is_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
    for row, round, batch, offset, size, result_offset, length in job.store.again(job.run, least=least):
        try:
            params = files.read(folder.body(round, batch), offset, size)
            is_object(params)
            if result_offset is not None:
                line = files.read(folder.results(round, batch), result_offset, length or 0)
                found = read(line, form, rows.fields(row) if form.checks else None)
                if not (found.again or found.outcome == "canceled"):
                    raise ValueError("its result is final")
                longer = params
                if found.stop_reason == PAUSED:
                    longer = continued(params, line)
                elif found.outcome == "invalid" and job.spec.retry.repair:
                    longer = repaired(params, line, (found.error or {}).get("message", "it is not valid"))
                # A conversation that has become too long is dropped: the same request is sent again.
                params = longer if len(longer) <= longest else params
        except (ValueError, OSError) as error:
            raise StateError(
                f"run {job.run.id}: row {row} is marked to be sent again, but cannot be: {error}"
            ) from error
        yield row, params
