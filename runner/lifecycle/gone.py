"""Batches that the API does not know any more: gone for good, or only for the moment."""

from contextlib import suppress

from runner.api import Api
from runner.errors import NotFound, ResultsGone
from runner.lifecycle.job import Job, name_of, plural
from runner.lifecycle.reconcile import MARGIN_SECONDS
from runner.store import Batch

_DAY = 86_400
RETENTION_SECONDS = 29 * _DAY
"""How long after its creation the API keeps the results of a batch (platform.claude.com, batch processing)."""


def is_gone(job: Job, api: Api, batch: Batch) -> bool:
    """Whether a batch that the API says it does not know is gone for good, or its results are.

    A 404 can pass (anthropic-sdk-python issue 1432): it has to last, and the batch be absent from the list.
    """
    now = api.now
    if now - (batch.created_at or now) > RETENTION_SECONDS:
        return True
    if batch.state == "ended":
        with suppress(NotFound):
            if api.retrieve(batch.batch_id or "").archived_at is not None:
                return True
    if batch.faulty_since is None:
        job.store.move(batch, batch.state, faulty_since=now)
        return False
    absent = now - batch.faulty_since
    if absent <= job.spec.batch.grace_seconds or absent > _DAY:
        return absent > _DAY
    until = (batch.created_at or now) - MARGIN_SECONDS
    return all(remote.id != batch.batch_id for remote in api.newest(until=until))


def gone(batch: Batch, cause: NotFound | None) -> ResultsGone:
    """What to say of a batch whose results are lost."""
    error = ResultsGone(
        f"{name_of(batch)}: the API does not have {batch.batch_id} or its results any more: deleted, older "
        f"than 29 days, or of another workspace. What was paid for {plural(batch.requests, 'request')} is "
        "lost. Nothing was sent again; --accept-loss ends their rows as missing and finishes the run."
    )
    error.__cause__ = cause
    return error
