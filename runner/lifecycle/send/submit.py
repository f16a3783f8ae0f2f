"""Send a prepared batch exactly once: the intent is durable on disk before the first byte is sent."""

import time

import msgspec

from runner.api.accounts import Accounts
from runner.api.client import Api
from runner.errors import AcceptanceUnknown, NotAccepted, RunnerError, StateError
from runner.lifecycle.prepare.check_body import check_body
from runner.lifecycle.send.bind import assign_batch_id, reset_to_prepared
from runner.lifecycle.send.recovered import find_earlier_create
from runner.runs.context import RunContext
from runner.store.records import Batch
from runner.text import pluralize


def _record_intent(context: RunContext, api: Api, batch: Batch) -> Batch | None:
    """Make the intent to send a batch durable, on disk and in the database; return it as submitting.

    Return None if another process has recorded one that the database does not have.
    """
    folder = context.store.folder(context.run)
    now, workspace_id, newest_at, _ = api.fetch_workspace_info()
    intent = {
        "account": batch.account,
        "intent_at": now,
        # A clock in between may be wrong, but a batch created from now on is newer than the newest existing one.
        "search_from": 0.0 if newest_at is None else min(now, newest_at),
        "base_url": api.base_url,
        "workspace_id": workspace_id,
        "queue": api.name_queue(batch.account),
        "search_started_at": None,
        "search_started_local": None,
        "assumed_unsent_at": None,
    }
    # The API's clock is only a header: another clock and a time of the API's own database stand beside it.
    clocks = {"local_at": time.time(), "newest_at": newest_at}
    if not folder.create_intent(batch.round, batch.batch, msgspec.json.encode({**intent, **clocks})):
        return None
    try:
        return context.store.transition(batch, "submitting", **intent)
    except StateError:
        # Nothing was sent. Remove the mark, so that a full disk, for example, leaves no doubt about it.
        folder.remove_intent(batch.round, batch.batch)
        raise


def _keep_or_reset(context: RunContext, api: Api, batch: Batch, error: RunnerError) -> Batch:
    """Return a batch whose answer was lost; raise any other error, with the batch as it has to be handled then."""
    if isinstance(error, AcceptanceUnknown):
        context.report("searching", f"{error}; looking for it before anything is sent again", batch)
        return batch
    if isinstance(error, NotAccepted):
        context.store.transition(batch, "submitting", assumed_unsent_at=api.now)
    else:
        reset_to_prepared(context, batch)
    raise error


def submit_batch(context: RunContext, accounts: Accounts, batch: Batch) -> Batch:
    """POST the body of a prepared batch with the key of `batch.account`.

    Returns the batch as submitted, or still submitting if the response was lost; `reconcile` finds out then.
    Raises Unavailable, RequestRejected or AccessError if the API certainly did not accept it; the batch is then
    prepared again. Raises NotAccepted if the API says so with a 5xx: the batch is still submitting, to be looked
    for once. Raises StateError if the body on disk was changed, FileChanged if a file that it attaches was, and
    StateLocked if another process has taken over.
    """
    body, api = check_body(context, batch), accounts.of(batch)
    context.store.check_lock()
    guard = context.store.guard_sending()
    recorded = _record_intent(context, api, batch)
    if recorded is None:
        return find_earlier_create(context, accounts, batch)
    batch = recorded
    try:
        remote = api.create_batch(body, batch.bytes, guard.confirm)
    except RunnerError as error:
        context.store.check_lock()
        return _keep_or_reset(context, api, batch, error)
    # Another process that took over has found it meanwhile.
    context.store.check_lock()
    batch = assign_batch_id(context, batch, remote, batch.account)
    where = "" if batch.account is None else f" in account {batch.account}"
    line = f"{pluralize(batch.requests, 'request')} submitted as {batch.batch_id}{where}"
    context.report("submitted", line, batch)
    return batch
