"""Bind a batch to its remote batch, or return it to `prepared`.

A create without an answer whose batch was not found may still be paid. When the batch is sent again, both creates
count against the cost cap: the earlier one as `doubted_cost`, until its batch is found.
"""

from runner.api.remote_batch import RemoteBatch
from runner.lifecycle.send.cost_cap import batch_cost_upper_bound
from runner.runs.context import RunContext
from runner.store.records import Batch


def reset_to_prepared(context: RunContext, batch: Batch, *, is_doubted: bool = False) -> Batch:
    """Return a submitting batch to `prepared`, to be sent again.

    It is certain that the API did not accept it, unless `is_doubted`: then its cost stays counted.
    """
    context.store.folder(context.run).remove_intent(batch.round, batch.batch)
    known_at = batch.search_started_at or batch.intent_at
    return context.store.transition(
        batch,
        "prepared",
        account=None,
        intent_at=None,
        search_started_at=known_at,
        assumed_unsent_at=None,
        base_url=None,
        workspace_id=None,
        queue=None,
        reserved_cost=None,
        doubted_cost=_doubted_cost(context, batch) if is_doubted else batch.doubted_cost,
    )


def _doubted_cost(context: RunContext, batch: Batch) -> float:
    """Return the most that all creates of a submitting batch can have cost, if none of them was found."""
    if batch.reserved_cost is not None:
        return batch.doubted_cost + batch.reserved_cost
    # Not sent again since the last doubt: it is the same create that is doubted once more.
    return max(batch.doubted_cost, batch_cost_upper_bound(context, batch))


def assign_batch_id(
    context: RunContext, batch: Batch, remote: RemoteBatch, account: str | None, *, is_proved: bool = True
) -> Batch:
    """Bind a submitting batch to its remote batch in an account.

    Unless `is_proved`, its results still have to prove the match. If the batch was not sent again since it was
    doubted, this is the create in doubt, and no longer counts twice.
    """
    upper_bound, doubted = batch.reserved_cost, batch.doubted_cost
    if upper_bound is None:
        upper_bound = batch_cost_upper_bound(context, batch)
        doubted = max(0.0, doubted - upper_bound)
    return context.store.transition(
        batch,
        "submitted",
        account=account,
        batch_id=remote.id,
        created_at=remote.created_at,
        request_id=remote.request_id,
        search_started_at=None if is_proved else remote.created_at,
        reserved_cost=upper_bound,
        doubted_cost=doubted,
    )
