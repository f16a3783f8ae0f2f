"""Resolve a create request that got no response: find its batch, or make sure that it does not exist.

Batches have no labels. The candidates are batches of the workspace with a matching creation time and request
count. Once a candidate has ended, the custom_ids of its results show which run it belongs to. While a candidate is
unfinished, nothing is concluded and nothing is sent again.
"""

import time
from datetime import UTC, datetime

from runner.api.accounts import Accounts
from runner.api.client import Api
from runner.api.remote_batch import RemoteBatch
from runner.errors import ManualDecisionRequired, StateError
from runner.lifecycle.follow.remote_batches import CLOCK_MARGIN_SECONDS, read_custom_ids
from runner.lifecycle.send.bind import assign_batch_id, reset_to_prepared
from runner.lifecycle.send.recovered import read_sent_times
from runner.requests.custom_id import custom_id_prefix
from runner.runs.context import RunContext, batch_label, rows_of_batch
from runner.store.records import Batch
from runner.text import pluralize

_DAY = 86_400


def find_batch(context: RunContext, accounts: Accounts, batch: Batch) -> tuple[Batch, list[RemoteBatch]]:
    """Look once for the remote batch that belongs to a submitting batch, in each account where it can be.

    Returns the batch, now submitted if the results of an ended remote batch prove the match. Also returns the
    remaining candidates: remote batches that have not ended, or whose results cannot be read. Raises Unavailable
    or AccessError, and StateError if the database is damaged.
    """
    if batch.intent_at is None:
        raise StateError(
            f"{batch_label(batch)} is submitting, but has no recorded intent: the database is damaged"
        )
    # A wrong count would hide the batch we look for, and its requests would be paid for again.
    rows_of_batch(context, batch)
    undecided = []
    for name, api in accounts.search(batch):
        found, candidates = _find_in_account(context, api, batch, name)
        if found is not None:
            return found, []
        undecided += candidates
    return batch, undecided


def _find_in_account(
    context: RunContext, api: Api, batch: Batch, account: str | None
) -> tuple[Batch | None, list[RemoteBatch]]:
    """Return a submitting batch as submitted if it is found in an account, and else the candidates there."""
    undecided = []
    prefix = custom_id_prefix(context.run.id, batch.round, batch.batch)
    since = _search_start(context, batch, batch.intent_at or 0.0, api.now)
    for remote in list(api.list_batches(created_after=since - CLOCK_MARGIN_SECONDS)):
        if remote.requests != batch.requests or context.store.remote_index.is_excluded(batch, remote.id):
            continue
        ids = read_custom_ids(api, remote) if remote.processing_status == "ended" else []
        if any(one.startswith(prefix) for one in ids):
            batch = assign_batch_id(context, batch, remote, account)
            context.report("found", f"was accepted as {batch.batch_id}", batch)
            return batch, []
        if ids:
            context.store.remote_index.exclude_batch(batch, remote.id)
            context.report("searching", f"{remote.id} is not ours; still searching", batch)
        else:
            undecided.append(remote)
    return None, undecided


def _search_start(context: RunContext, batch: Batch, intent_at: float, now: float) -> float:
    """Return the creation time of the oldest batch that can be ours.

    The API's clock is a header of its answers, which a gateway can set wrong once. If it said that the batch was
    sent in the future, the earliest of all other known times counts: more candidates cost only time.
    """
    times = [intent_at] if batch.search_from is None else [intent_at, batch.search_from]
    if intent_at > now + CLOCK_MARGIN_SECONDS:
        times += [now, *read_sent_times(context, batch)]
    return min(times)


def _warn_of_clock(context: RunContext, batch: Batch, now: float) -> None:
    if batch.intent_at is not None and batch.intent_at > now + CLOCK_MARGIN_SECONDS:
        ahead = pluralize(round(batch.intent_at - now), "second")
        context.report(
            "warning",
            f"warning: the Date header of the API was {ahead} ahead when it was sent, or is behind now; searching "
            "from the earliest known time",
            batch,
        )


def reconcile_batch(context: RunContext, accounts: Accounts, batch: Batch) -> tuple[Batch, list[RemoteBatch]]:
    """Look once for the remote batch of a submitting batch, and decide what can be decided by now.

    Returns the batch and the remaining candidates. The batch is submitted if it was found. It is prepared again
    if there is no candidate, and it is assumed that nothing was accepted. Else it is prepared again if the grace
    period is over, there is no candidate and `batch.on_unknown` is `resubmit`. Otherwise it is
    still submitting. Raises ManualDecisionRequired if the decision is left to the user, and Unavailable,
    NotFound, AccessError or StateError.
    """
    if batch.assumed_unsent_at is not None:
        return _look_once(context, accounts, batch)
    # Ask for the time before the search: a batch created after the search must not be given up because of it.
    now = accounts.search(batch)[0][1].fetch_workspace_info().now
    started_at = batch.search_started_at
    is_started = started_at is not None and batch.search_started_local is not None
    # A start in the future was read from a wrong header: the search would last until then.
    if not is_started or (started_at or 0) > now + CLOCK_MARGIN_SECONDS:
        batch = context.store.transition(
            batch, "submitting", search_started_at=now, search_started_local=time.time()
        )
        _warn_of_clock(context, batch, now)
    batch, undecided = find_batch(context, accounts, batch)
    # Measured on both clocks, because either can jump. The API's clock shows whole seconds: a difference of n can
    # mean only slightly more than n - 1 seconds.
    waited = min(now - (batch.search_started_at or now), time.time() - (batch.search_started_local or time.time()))
    is_waiting = any(_is_undecided(remote, now) for remote in undecided)
    if batch.state != "submitting" or is_waiting or waited <= context.spec.batch.grace_seconds:
        return batch, undecided
    if undecided or context.spec.batch.on_unknown != "resubmit":
        raise ManualDecisionRequired(_undecided_message(context, batch, undecided))
    batch = reset_to_prepared(context, batch, is_doubted=True)
    grace = f"{context.spec.batch.grace_seconds:g} s"
    context.report("found", f"not found after {grace}; treating it as never created", batch)
    return batch, []


def _look_once(context: RunContext, accounts: Accounts, batch: Batch) -> tuple[Batch, list[RemoteBatch]]:
    """Look for a batch that was probably never accepted: without a candidate, nothing more is waited for."""
    batch, undecided = find_batch(context, accounts, batch)
    if batch.state != "submitting" or any(_is_undecided(remote, accounts.first.now) for remote in undecided):
        return batch, undecided
    if undecided:
        raise ManualDecisionRequired(_undecided_message(context, batch, undecided))
    context.report("found", "is not among the batches of the workspace, and can be sent", batch)
    return reset_to_prepared(context, batch), []


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
    sent_at = batch.intent_at or 0
    shown = datetime.fromtimestamp(sent_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    create = f"The request to create it, sent at {shown}, got no response"
    if context.run.recovered_at is not None and sent_at < context.run.recovered_at:
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
