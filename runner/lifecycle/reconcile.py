"""A create without an answer: find the batch among those of the workspace, or be sure that there is none.

A batch has no label. Those of the right time and request count are candidates; once a candidate has ended, the
custom_ids of its results say whose it is. As long as one has not, nothing is concluded and nothing is sent again.
"""

from runner.api import Api, Remote
from runner.errors import AccessError, StateError
from runner.lifecycle.job import Job, name_of
from runner.lifecycle.submit import bind
from runner.outcome import read
from runner.request import custom_id
from runner.store import Batch

# By the API's clock; wide, since a listing that is a little late must not hide our batch.
_MARGIN_SECONDS = 300


def check_account(job: Job, api: Api) -> None:
    """Raise AccessError if batches under way were sent elsewhere: there they are, and here they never will be."""
    sent = [batch for batch in job.store.batches(job.run) if batch.base_url is not None]
    if not sent:
        return
    _, workspace_id = api.whereabouts()
    for batch in sent:
        if batch.base_url != api.base_url:
            raise AccessError(
                f"{name_of(batch)} was sent to {batch.base_url}, and the base URL now is {api.base_url}"
            )
        if workspace_id and batch.workspace_id and batch.workspace_id != workspace_id:
            raise AccessError(
                f"{name_of(batch)} is in the workspace {batch.workspace_id}, and the key is of {workspace_id}"
            )


def _owner(api: Api, remote: Remote) -> str | None:
    """The custom_id of the first result of a batch that has ended; None if it cannot be read."""
    first = b""
    for block in api.results(remote.id):
        first += block
        if b"\n" in block:
            break
    try:
        return read(first.partition(b"\n")[0]).custom_id
    except ValueError:
        return None


def reconcile(job: Job, api: Api, batch: Batch) -> Batch:
    """Look once for the remote batch of a submitting one.

    Returns it submitted if a batch that has ended is proved to be it, prepared if the grace period is over and no
    batch could be it, and still submitting if it is too early to say. Raises Unavailable or AccessError.
    """
    intent_at = batch.intent_at
    if intent_at is None:
        raise StateError(f"{name_of(batch)} is submitting, but its intent is not recorded")
    # Asked before the look: a batch that is created after it must not be given up because of it.
    now, _ = api.whereabouts()
    unknown_at = batch.unknown_at or now
    if batch.unknown_at is None:
        batch = job.store.move(batch, "submitting", unknown_at=now)
    undecided = 0
    prefix = custom_id(job.run.id, batch.round, batch.batch, 0)[:-1]
    for remote in list(api.newest(until=intent_at - _MARGIN_SECONDS)):
        if remote.requests != batch.requests or job.store.is_excluded(batch, remote.id):
            continue
        owner = _owner(api, remote) if remote.processing_status == "ended" else None
        if owner is None:
            undecided += 1
        elif owner.startswith(prefix):
            batch = bind(job, batch, remote)
            job.tell(f"{name_of(batch)}: was accepted as {batch.batch_id}")
            return batch
        else:
            job.store.exclude(batch, remote.id)
            job.tell(f"{name_of(batch)}: {remote.id} is not ours; the search goes on")
    # The clock shows whole seconds: a difference of n can be a little more than n - 1.
    if undecided or now - unknown_at <= job.spec.batch.grace_seconds:
        return batch
    batch = job.store.move(batch, "prepared", intent_at=None, unknown_at=None)
    job.tell(f"{name_of(batch)}: no trace of it after {job.spec.batch.grace_seconds:g} s, so it was never created")
    return batch
