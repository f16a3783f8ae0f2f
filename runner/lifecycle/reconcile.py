"""A create without an answer: find the batch among those of the workspace, or be sure that there is none.

A batch has no label, but its request count tells it from the other batches of its round, and its results
carry our custom_ids. So a batch of the right count and time is bound provisionally, and collect proves it.
"""

from runner.api import Api, Remote
from runner.errors import StateError
from runner.lifecycle.job import Job, name_of
from runner.lifecycle.submit import bind
from runner.store import Batch

_MARGIN_SECONDS = 300


def _candidates(job: Job, api: Api, batch: Batch, intent_at: float) -> list[Remote]:
    """Batches that could be ours; those that have ended come first, since their results prove it at once."""
    found = [
        remote
        for remote in api.newest(until=intent_at - _MARGIN_SECONDS)
        if remote.requests == batch.requests and not job.store.is_taken(remote.id)
    ]
    return sorted(found, key=lambda remote: (remote.processing_status != "ended", remote.created_at))


def reconcile(job: Job, api: Api, batch: Batch) -> Batch:
    """Look once for the remote batch of a submitting one.

    Returns it submitted if a candidate was found, prepared if the grace period is over without one, and
    unchanged if it is too early to say. Raises Unavailable or AccessError.
    """
    intent_at = batch.intent_at
    if intent_at is None:
        raise StateError(f"{name_of(batch)} is submitting, but its intent is not recorded")
    # Asked before the look: a batch that is created after it must not be given up because of it.
    now = api.server_time()
    candidates = _candidates(job, api, batch, intent_at)
    if candidates:
        batch = bind(job, batch, candidates[0], is_proved=False)
        job.tell(f"{name_of(batch)}: probably accepted as {batch.batch_id}; its results will tell")
        return batch
    if now - intent_at < job.spec.batch.grace_seconds:
        return batch
    batch = job.store.move(batch, "prepared", intent_at=None)
    job.tell(f"{name_of(batch)}: no trace of it after {job.spec.batch.grace_seconds:g} s, so it was never created")
    return batch
