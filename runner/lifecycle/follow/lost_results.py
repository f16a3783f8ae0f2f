"""Detect batches whose results have expired or been deleted (a 404 may be temporary)."""

from contextlib import suppress

from runner.api.client import Api
from runner.api.remote_batch import RETENTION_SECONDS
from runner.errors import NotFound, ResultsLost
from runner.lifecycle.follow.remote_batches import CLOCK_MARGIN_SECONDS
from runner.runs.context import RunContext, batch_label
from runner.store.records import Batch
from runner.text import pluralize

_DAY = 86_400


def are_results_lost(context: RunContext, api: Api, batch: Batch) -> bool:
    """Return whether a batch that the API did not find, or its results, are lost for good.

    A 404 can be temporary (anthropic-sdk-python issue 1432). So it must last longer than `batch.grace_seconds`,
    and the batch must also be missing from the list. A 404 that lasts for a day is enough, and so is a batch
    that is archived or older than 29 days.
    """
    now = api.now
    if now - (batch.created_at or now) > RETENTION_SECONDS:
        return True
    if batch.state == "ended":
        with suppress(NotFound):
            if api.retrieve_batch(batch.batch_id or "").archived_at is not None:
                return True
    if batch.not_found_since is None:
        context.store.transition(batch, batch.state, not_found_since=now)
        return False
    absent = now - batch.not_found_since
    if absent <= context.spec.batch.grace_seconds or absent > _DAY:
        return absent > _DAY
    until = (batch.created_at or now) - CLOCK_MARGIN_SECONDS
    return all(remote.id != batch.batch_id for remote in api.list_batches(created_after=until))


def results_lost_error(batch: Batch, cause: NotFound | None) -> ResultsLost:
    """Return the error for a batch whose results are lost."""
    error = ResultsLost(
        f"{batch_label(batch)}: the API no longer has {batch.batch_id} or its results: "
        "deleted, older than 29 days, "
        f"or in another workspace. The payment for {pluralize(batch.requests, 'request')} "
        "is lost. Nothing was sent "
        "again; use --accept-loss to record their rows as missing and finish the run."
    )
    error.__cause__ = cause
    return error
