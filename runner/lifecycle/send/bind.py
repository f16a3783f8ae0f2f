"""Bind a batch to its remote batch, or return it to `prepared`."""

from runner.api.remote_batch import RemoteBatch
from runner.runs.context import RunContext
from runner.store.records import Batch


def reset_to_prepared(context: RunContext, batch: Batch) -> Batch:
    """Return a submitting batch to `prepared`; it is certain that the API did not accept it."""
    context.store.folder(context.run).intent_marker(batch.round, batch.batch).unlink(missing_ok=True)
    known_at = batch.search_started_at or batch.intent_at
    return context.store.transition(
        batch,
        "prepared",
        intent_at=None,
        search_started_at=known_at,
        assumed_unsent_at=None,
        base_url=None,
        workspace_id=None,
    )


def assign_batch_id(context: RunContext, batch: Batch, remote: RemoteBatch, *, is_proved: bool = True) -> Batch:
    """Bind a submitting batch to its remote batch.

    Unless `is_proved`, its results still have to prove the match.
    """
    return context.store.transition(
        batch,
        "submitted",
        batch_id=remote.id,
        created_at=remote.created_at,
        request_id=remote.request_id,
        workspace_id=remote.workspace_id or batch.workspace_id,
        search_started_at=None if is_proved else remote.created_at,
    )
