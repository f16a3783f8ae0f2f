"""Resolve a create request that got no response: find its batch, or make sure that it does not exist.

Batches have no labels. The candidates are batches of the workspace with a matching creation time and request
count. Once a candidate has ended, the custom_ids of its results show which run it belongs to. While a candidate is
unfinished, nothing is concluded and nothing is sent again.
"""

import time
from collections.abc import Iterable
from datetime import UTC, datetime

from runner.api import Api, RemoteBatch
from runner.body import make_custom_id
from runner.errors import AccessError, ManualDecisionRequired, NotFound, StateError
from runner.lifecycle.job import RunContext, batch_label, pluralize
from runner.lifecycle.submit import assign_batch_id, reset_to_prepared
from runner.outcome import parse_result
from runner.store.records import Batch

# On the API's clock. Wide, because a listing that is slightly out of date must not hide our batch.
CLOCK_MARGIN_SECONDS = 300
_DAY = 86_400


def check_workspace(batches: Iterable[Batch], api: Api) -> None:
    """Raise AccessError if batches were sent to another base URL or workspace.

    This client would never find them.
    """
    sent = [batch for batch in batches if batch.base_url is not None]
    if not sent:
        return
    workspace_id = api.fetch_workspace_info().workspace_id
    for batch in sent:
        if batch.base_url != api.base_url:
            raise AccessError(
                f"{batch_label(batch)} was sent to {batch.base_url}, but the base URL is now {api.base_url}: "
                "set it back"
            )
        if workspace_id and batch.workspace_id and batch.workspace_id != workspace_id:
            raise AccessError(
                f"{batch_label(batch)} is in workspace {batch.workspace_id}, but the API key belongs to "
                f"{workspace_id}: use a key of {batch.workspace_id}"
            )


def read_custom_ids(api: Api, remote: RemoteBatch) -> list[str]:
    """Return the custom_ids of the first results of an ended batch; empty if none can be read."""
    first = b""
    try:
        for block in api.stream_results(remote.id):
            first += block
            if b"\n" in block:
                break
    except NotFound:
        return []
    found = []
    for line in first.split(b"\n")[:-1]:
        try:
            found.append(parse_result(line).custom_id)
        except ValueError:
            continue
    return found


def find_batch(context: RunContext, api: Api, batch: Batch) -> tuple[Batch, list[RemoteBatch]]:
    """Look once for the remote batch that belongs to a submitting batch.

    Returns the batch, now submitted if the results of an ended remote batch prove the match. Also returns the
    remaining candidates: remote batches that have not ended, or whose results cannot be read. Raises Unavailable
    or AccessError, and StateError if the database is damaged.
    """
    if batch.intent_at is None:
        raise StateError(
            f"{batch_label(batch)} is submitting, but has no recorded intent: the database is damaged"
        )
    if batch.intent_at > api.now + CLOCK_MARGIN_SECONDS:
        raise StateError(f"{batch_label(batch)} is recorded as sent in the future: the database is damaged")
    if len(context.store.rows_of(batch)) != batch.requests:
        # A wrong count would hide the batch we look for, and its requests would be paid for again.
        raise StateError(
            f"{batch_label(batch)} does not have the recorded "
            f"{pluralize(batch.requests, 'row')}: the database is damaged"
        )
    undecided = []
    prefix = make_custom_id(context.run.id, batch.round, batch.batch, 0)[:-1]
    since = batch.intent_at if batch.search_from is None else min(batch.intent_at, batch.search_from)
    for remote in list(api.list_batches(created_after=since - CLOCK_MARGIN_SECONDS)):
        if remote.requests != batch.requests or context.store.is_excluded(batch, remote.id):
            continue
        ids = read_custom_ids(api, remote) if remote.processing_status == "ended" else []
        if any(one.startswith(prefix) for one in ids):
            batch = assign_batch_id(context, batch, remote)
            context.report(f"{batch_label(batch)}: was accepted as {batch.batch_id}")
            return batch, []
        if ids:
            context.store.exclude_batch(batch, remote.id)
            context.report(f"{batch_label(batch)}: {remote.id} is not ours; still searching")
        else:
            undecided.append(remote)
    return batch, undecided


def reconcile_batch(context: RunContext, api: Api, batch: Batch) -> tuple[Batch, list[RemoteBatch]]:
    """Look once for the remote batch of a submitting batch, and decide what can be decided by now.

    Returns the batch and the remaining candidates. The batch is submitted if it was found. It is prepared again
    if the grace period is over, there is no candidate and `batch.on_unknown` is `resubmit`. Otherwise it is
    still submitting. Raises ManualDecisionRequired if the decision is left to the user, and Unavailable,
    NotFound, AccessError or StateError.
    """
    # Ask for the time before the search: a batch created after the search must not be given up because of it.
    now = api.fetch_workspace_info().now
    if batch.search_started_at is None or batch.search_started_local is None:
        batch = context.store.transition(
            batch, "submitting", search_started_at=now, search_started_local=time.time()
        )
    batch, undecided = find_batch(context, api, batch)
    # Measured on both clocks, because either can jump. The API's clock shows whole seconds: a difference of n can
    # mean only slightly more than n - 1 seconds.
    waited = min(now - (batch.search_started_at or now), time.time() - (batch.search_started_local or time.time()))
    is_waiting = any(_is_undecided(remote, now) for remote in undecided)
    if batch.state != "submitting" or is_waiting or waited <= context.spec.batch.grace_seconds:
        return batch, undecided
    if undecided or context.spec.batch.on_unknown == "ask":
        raise ManualDecisionRequired(_undecided_message(context, batch, undecided))
    batch = reset_to_prepared(context, batch)
    context.report(
        f"{batch_label(batch)}: not found after {context.spec.batch.grace_seconds:g} s; "
        "treating it as never created"
    )
    return batch, []


def _is_undecided(remote: RemoteBatch, now: float) -> bool:
    """Return whether the results of a candidate may still arrive and identify it."""
    has_ended = remote.processing_status == "ended"
    return remote.archived_at is None and (not has_ended or now - (remote.ended_at or now) < _DAY)


def _undecided_message(context: RunContext, batch: Batch, unreadable: list[RemoteBatch]) -> str:
    """Return the message that asks the user to decide whether a batch was accepted."""
    found = "no batch in the workspace could be it"
    if unreadable:
        ids = " or ".join(remote.id for remote in unreadable)
        found = f"it could be {ids}, whose results can no longer be read"
    sent_at = datetime.fromtimestamp(batch.intent_at or 0, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    create = f"The request to create it, sent at {sent_at}, got no response"
    if context.run.recovered_at is not None and (batch.intent_at or 0) < context.run.recovered_at:
        create = "It may have been created before the state was lost"
    return (
        f"{batch_label(batch)} ({pluralize(batch.requests, 'request')}): it is unknown "
        "whether the API accepted it. "
        f"{create}, and after {context.spec.batch.grace_seconds:g} s {found}.\n"
        f"  runner reconcile {context.run.id} --adopt BATCH_ID    if the Console shows the batch\n"
        f"  runner reconcile {context.run.id} --assume-not-sent   to send it again (paid "
        "twice if it was accepted)\n"
        "Set `batch: {on_unknown: resubmit}` in the spec to always send again in this case."
    )
