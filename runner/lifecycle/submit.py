"""A prepared batch is sent once: the intent is durable before the first byte leaves."""

import hashlib

from runner.api import Api, Remote
from runner.errors import CreateUnknown, RunnerError, StateError
from runner.lifecycle.job import Job, name_of, plural
from runner.store import Batch


def submit(job: Job, api: Api, batch: Batch) -> Batch:
    """POST the body of a prepared batch.

    Returns it submitted; or still submitting if the answer was lost, for reconcile to find out. Raises
    Unavailable, Refused or AccessError with the batch prepared again: it was certainly not accepted.
    """
    body = job.store.folder(job.run).body(batch.round, batch.batch)
    with body.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != batch.sha256:
            raise StateError(f"{body} is not what was written: its digest differs from the one recorded")
    now, workspace_id = api.whereabouts()
    intent = {"intent_at": now, "base_url": api.base_url, "workspace_id": workspace_id}
    batch = job.store.move(batch, "submitting", **intent)
    try:
        remote = api.create(body)
    except CreateUnknown as error:
        job.tell(f"{name_of(batch)}: {error}; looking for it before anything is sent again")
        return batch
    except RunnerError:
        job.store.move(batch, "prepared", intent_at=None)
        raise
    batch = bind(job, batch, remote)
    job.tell(f"{name_of(batch)}: {plural(batch.requests, 'request')} submitted as {batch.batch_id}")
    return batch


def bind(job: Job, batch: Batch, remote: Remote) -> Batch:
    """Record which remote batch a submitting batch is."""
    return job.store.move(
        batch,
        "submitted",
        batch_id=remote.id,
        created_at=remote.created_at,
        request_id=remote.request_id,
        workspace_id=remote.workspace_id or batch.workspace_id,
    )
