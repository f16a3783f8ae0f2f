"""Evaluate the canary: the first rows, sent synchronously before any batch."""

from collections.abc import Sequence

from runner.body import pack
from runner.durable import sync_folder
from runner.errors import CanaryFailed
from runner.form import Form
from runner.lifecycle.job import Job, plural
from runner.lifecycle.rows import rows_of
from runner.outcome import Outcome, read
from runner.store.folder import pieces
from runner.store.records import Batch

_SHOWN, _LONGER_ID = 3, 20


def judge(job: Job, form: Form) -> bool:
    """Return whether the other rows can be sent, once the canary is collected.

    A fault that can pass, such as an overloaded server, is left to the next round if another row succeeded. If no
    row succeeded, the canary is prepared again, up to `retry.attempts` times in all, and False is returned. Raises
    CanaryFailed if rows failed. The run is then abandoned, and the next run can reuse its answers.
    """
    canaries = [batch for batch in job.store.batches(job.run) if batch.lane == "canary" and batch.round == 1]
    found = [one for batch in canaries for one in _outcomes(job, batch, form)]
    bad = [(row, one) for row, one in found if one.outcome not in ("succeeded", "errored", "expired")]
    bad += [(row, one) for row, one in found if one.outcome == "errored" and not one.again]
    if found and not bad and not any(one.outcome == "succeeded" for _, one in found):
        if len(canaries) < job.spec.retry.attempts:
            _prepare_again(job, canaries)
            return False
        bad = found
    if bad:
        job.run = job.store.update(job.run, state="abandoned")
        raise CanaryFailed(_message(job, len(found), bad))
    return True


def _prepare_again(job: Job, canaries: Sequence[Batch]) -> None:
    """Prepare another canary with the rows of the previous ones."""
    folder = job.store.folder(job.run)
    number = max(batch.batch for batch in job.store.batches(job.run) if batch.round == 1) + 1
    requests = [
        (row, batch.batch, offset, size)
        for batch in canaries
        for row, offset, size in job.store.requests_of(batch)
    ]
    with pieces() as files, job.store.transaction():
        pairs = ((row, files.read(folder.body(1, batch), *where)) for row, batch, *where in requests)
        size = sum(batch.bytes for batch in canaries) + _LONGER_ID * len(requests)
        limits = {"max_requests": len(requests), "max_bytes": size}
        for body in pack(pairs, run=job.run.id, round=1, folder=folder.bodies, first=number, **limits):
            job.store.add_batch(job.run, 1, body, lane="canary")
        job.store.recount(job.run)
        sync_folder(folder.bodies)


def _outcomes(job: Job, batch: Batch, form: Form) -> list[tuple[int, Outcome]]:
    path = job.store.folder(job.run).results(batch.round, batch.batch)
    with pieces() as files, rows_of(job) as rows:
        places = job.store.results_of(batch)
        return [
            (row, read(files.read(path, offset, length), form, rows.fields(row) if form.checks else None))
            for row, offset, length in places
        ]


def _message(job: Job, count: int, bad: list[tuple[int, Outcome]]) -> str:
    lines = [
        f"  row {row} is {one.outcome}: {(one.error or {}).get('message', '')}"
        for row, one in sorted(bad)[:_SHOWN]
    ]
    if len(bad) > _SHOWN:
        lines.append(f"  and {len(bad) - _SHOWN} more")
    shown = "\n".join(lines)
    return (
        f"the canary failed: {len(bad)} of {plural(count, 'row')} did not succeed, and nothing else of "
        f"run {job.run.id} was sent:\n{shown}\n"
        "Fix the prompt, schema or rows and run again (answers that succeeded are not paid for again), or lower "
        "`canary`"
    )
