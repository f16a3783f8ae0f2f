"""A create without an answer: find the batch among those of the workspace, or be sure that there is none.

A batch has no label. Those of the right time and request count are candidates; once a candidate has ended, the
custom_ids of its results say whose it is. As long as one has not, nothing is concluded and nothing is sent again.
"""

import time
from collections.abc import Iterable
from datetime import UTC, datetime

from runner.api import Api, Remote
from runner.body import custom_id
from runner.errors import AccessError, NotFound, StateError, Undecided
from runner.lifecycle.job import Job, name_of, plural
from runner.lifecycle.submit import bind, unsend
from runner.outcome import read
from runner.store import Batch

# By the API's clock; wide, since a listing that is a little late must not hide our batch.
MARGIN_SECONDS = 300
_DAY = 86_400


def check_account(batches: Iterable[Batch], api: Api) -> None:
    """Raise AccessError if batches were sent elsewhere: there they are, and here they never will be."""
    sent = [batch for batch in batches if batch.base_url is not None]
    if not sent:
        return
    workspace_id = api.whereabouts().workspace_id
    for batch in sent:
        if batch.base_url != api.base_url:
            raise AccessError(
                f"{name_of(batch)} was sent to {batch.base_url}, and the base URL now is {api.base_url}"
            )
        if workspace_id and batch.workspace_id and batch.workspace_id != workspace_id:
            raise AccessError(
                f"{name_of(batch)} is in the workspace {batch.workspace_id}, and the key is of {workspace_id}"
            )


def custom_ids(api: Api, remote: Remote) -> list[str]:
    """The custom_ids of the first results of a batch that has ended; empty if none can be read."""
    first = b""
    try:
        for block in api.results(remote.id):
            first += block
            if b"\n" in block:
                break
    except NotFound:
        return []
    found = []
    for line in first.split(b"\n")[:-1]:
        try:
            found.append(read(line).custom_id)
        except ValueError:
            continue
    return found


def search(job: Job, api: Api, batch: Batch) -> tuple[Batch, list[Remote]]:
    """Look once for the remote batch of a submitting one.

    Returns it, submitted if a batch that has ended is proved to be it, and the remote batches that could still be
    it: those that have not ended, and those whose results cannot be read. Raises Unavailable or AccessError.
    """
    if batch.intent_at is None:
        raise StateError(f"{name_of(batch)} is submitting, but its intent is not recorded")
    if batch.intent_at > api.now + MARGIN_SECONDS:
        raise StateError(f"{name_of(batch)} is recorded as sent at a time to come: the database is damaged")
    if len(job.store.rows_of(batch)) != batch.requests:
        # A wrong count would hide the batch that is looked for, and it would be paid again.
        raise StateError(
            f"{name_of(batch)} does not carry {plural(batch.requests, 'row')}: the database is damaged"
        )
    undecided = []
    prefix = custom_id(job.run.id, batch.round, batch.batch, 0)[:-1]
    since = batch.intent_at if batch.search_from is None else min(batch.intent_at, batch.search_from)
    for remote in list(api.newest(until=since - MARGIN_SECONDS)):
        if remote.requests != batch.requests or job.store.is_excluded(batch, remote.id):
            continue
        ids = custom_ids(api, remote) if remote.processing_status == "ended" else []
        if any(one.startswith(prefix) for one in ids):
            batch = bind(job, batch, remote)
            job.tell(f"{name_of(batch)}: was accepted as {batch.batch_id}")
            return batch, []
        if ids:
            job.store.exclude(batch, remote.id)
            job.tell(f"{name_of(batch)}: {remote.id} is not ours; the search goes on")
        else:
            undecided.append(remote)
    return batch, undecided


def reconcile(job: Job, api: Api, batch: Batch) -> tuple[Batch, list[Remote]]:
    """Look once for the remote batch of a submitting one, and draw the conclusion that the time allows.

    Returns it submitted if it is found, prepared if the grace period is over, no batch could be it and the spec
    says to send it again then, and otherwise still submitting, with the remote batches that could be it. Raises
    Undecided if the spec leaves that to a person, Unavailable, NotFound or AccessError.
    """
    # Asked before the look: a batch that is created after it must not be given up because of it.
    now = api.whereabouts().now
    if batch.unknown_at is None or batch.unknown_since is None:
        batch = job.store.move(batch, "submitting", unknown_at=now, unknown_since=time.time())
    batch, undecided = search(job, api, batch)
    # By both clocks, since either can jump. The API's shows whole seconds: a difference of n can be a little more
    # than n - 1.
    waited = min(now - (batch.unknown_at or now), time.time() - (batch.unknown_since or time.time()))
    is_waiting = any(_may_tell(remote, now) for remote in undecided)
    if batch.state != "submitting" or is_waiting or waited <= job.spec.batch.grace_seconds:
        return batch, undecided
    if undecided or job.spec.batch.on_unknown == "ask":
        raise Undecided(_question(job, batch, undecided))
    batch = unsend(job, batch)
    job.tell(f"{name_of(batch)}: no trace of it after {job.spec.batch.grace_seconds:g} s, so it was never created")
    return batch, []


def _may_tell(remote: Remote, now: float) -> bool:
    """Whether the results of a candidate can still come to say whose it is."""
    has_ended = remote.processing_status == "ended"
    return remote.archived_at is None and (not has_ended or now - (remote.ended_at or now) < _DAY)


def _question(job: Job, batch: Batch, unreadable: list[Remote]) -> str:
    """What a person needs to decide whether a batch was accepted."""
    found = "no batch of the workspace could be it"
    if unreadable:
        ids = " or ".join(remote.id for remote in unreadable)
        found = f"it could be {ids}, whose results cannot be read any more"
    sent_at = datetime.fromtimestamp(batch.intent_at or 0, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    create = f"Its create of {sent_at} got no answer"
    if job.run.recovered_at is not None and (batch.intent_at or 0) < job.run.recovered_at:
        create = "It may have been created before the state was lost"
    return (
        f"{name_of(batch)} ({plural(batch.requests, 'request')}): whether it was accepted is not known. {create}, "
        f"and after {job.spec.batch.grace_seconds:g} s {found}.\n"
        f"  runner reconcile {job.run.id} --adopt BATCH_ID    if the Console shows it\n"
        f"  runner reconcile {job.run.id} --assume-not-sent   to send it again (paid twice, if it was accepted)\n"
        "`batch: {on_unknown: resubmit}` in the spec always sends again then."
    )
