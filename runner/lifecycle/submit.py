"""A prepared batch is sent once: the intent is durable before the first byte leaves."""

from runner.api import Api, Remote
from runner.errors import CreateUnknown, RunnerError
from runner.lifecycle.job import Job, name_of
from runner.store import Batch


def submit(job: Job, api: Api, batch: Batch) -> Batch:
    """POST the body of a prepared batch.

    Returns it submitted; or still submitting if the answer was lost, for reconcile to find out. Raises
    Unavailable, Refused or AccessError with the batch prepared again: it was certainly not accepted.
    """
    now = api.server_time()
    batch = job.store.move(batch, "submitting", intent_at=now, base_url=api.base_url)
    try:
        remote = api.create(job.store.folder(job.run).body(batch.round, batch.batch))
    except CreateUnknown as error:
        job.tell(f"{name_of(batch)}: {error}; looking for it before anything is sent again")
        return batch
    except RunnerError:
        job.store.move(batch, "prepared", intent_at=None)
        raise
    batch = bind(job, batch, remote, is_proved=True)
    job.tell(f"{name_of(batch)}: {batch.requests:,} requests submitted as {batch.batch_id}")
    return batch


def bind(job: Job, batch: Batch, remote: Remote, *, is_proved: bool) -> Batch:
    """Record which remote batch a submitting batch is; proved if the API's answer to the create said so."""
    return job.store.move(
        batch,
        "submitted",
        batch_id=remote.id,
        is_proved=is_proved,
        created_at=remote.created_at,
        request_id=remote.request_id,
        workspace_id=remote.workspace_id,
    )
