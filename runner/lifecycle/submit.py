"""Send a prepared batch exactly once: the intent is durable on disk before the first byte is sent."""

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from runner.api import Api, RemoteBatch
from runner.durable import atomic_write
from runner.errors import AcceptanceUnknown, RunnerError, StateError
from runner.lifecycle.job import RunContext, batch_label, pluralize
from runner.store.ids import parse_created_at
from runner.store.records import Batch

_DAY = 86_400
# Marks of state version 4 and older have the column names of their time.
_OLD_COLUMNS = {"unknown_at": "search_started_at", "unknown_since": "search_started_local"}


def may_have_been_sent(context: RunContext, batch: Batch) -> bool:
    """Return whether a prepared batch may have been sent although the database has no record of it."""
    return (
        _may_predate_state_loss(context, batch)
        or context.store.folder(context.run).intent_marker(batch.round, batch.batch).exists()
    )


def _may_predate_state_loss(context: RunContext, batch: Batch) -> bool:
    """Return whether a batch may have been sent before the state was lost.

    A round is prepared when the previous round is collected. If a batch of the previous round was sent after the
    recovery, this batch cannot have been sent before it. The `.sent` mark of that batch proves this; a timestamp
    would not, because the API's clock is known only to the second.
    """
    if context.run.recovered_at is None or batch.search_started_at is not None:
        return False
    folder = context.store.folder(context.run)
    before = [one for one in context.store.batches(context.run) if one.round == batch.round - 1]
    return not any(folder.intent_marker(one.round, one.batch).exists() for one in before)


def submit_batch(context: RunContext, api: Api, batch: Batch) -> Batch:
    """POST the body of a prepared batch.

    Returns the batch as submitted. It is still submitting if the response was lost or if it may have been sent
    before; `reconcile` resolves these cases. Raises Unavailable, RequestRejected or AccessError if the API
    certainly did not accept it; the batch is then prepared again. Raises StateError if the body on disk was
    changed.
    """
    if _may_predate_state_loss(context, batch):
        return _find_recovered_batch(context, api, batch)
    folder = context.store.folder(context.run)
    body, sent = folder.body(batch.round, batch.batch), folder.intent_marker(batch.round, batch.batch)
    if sent.exists():
        context.report(
            f"{batch_label(batch)}: may have been sent before: its intent is on disk, but not in the database"
        )
        return context.store.transition(batch, "submitting", **_read_intent(sent))
    with body.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != batch.sha256:
            raise StateError(
                f"{body} was changed after it was written: its SHA-256 digest differs from the recorded one"
            )
    now, workspace_id, newest_at = api.fetch_workspace_info()
    intent = {
        "intent_at": now,
        # A clock in between may be wrong, but a batch created from now on is newer than the newest existing one.
        "search_from": 0.0 if newest_at is None else min(now, newest_at),
        "base_url": api.base_url,
        "workspace_id": workspace_id,
        "search_started_at": None,
        "search_started_local": None,
    }
    with atomic_write(sent, private=True) as file:
        file.write(msgspec.json.encode(intent))
    try:
        batch = context.store.transition(batch, "submitting", **intent)
    except StateError:
        # Nothing was sent. Remove the mark, so that a full disk, for example, leaves no doubt about it.
        sent.unlink(missing_ok=True)
        raise
    try:
        remote = api.create_batch(body)
    except AcceptanceUnknown as error:
        context.report(f"{batch_label(batch)}: {error}; looking for it before anything is sent again")
        return batch
    except RunnerError:
        reset_to_prepared(context, batch)
        raise
    batch = assign_batch_id(context, batch, remote)
    context.report(f"{batch_label(batch)}: {pluralize(batch.requests, 'request')} submitted as {batch.batch_id}")
    return batch


def _read_intent(sent: Path) -> dict[str, Any]:
    """Read the intent from a `.sent` mark. Raises StateError if it is damaged."""
    try:
        intent = msgspec.json.decode(sent.read_bytes(), type=dict[str, Any])
    except ValueError as error:
        raise StateError(f"{sent} is damaged: {error}") from error
    return {_OLD_COLUMNS.get(name, name): value for name, value in intent.items()}


def reset_to_prepared(context: RunContext, batch: Batch) -> Batch:
    """Return a submitting batch to `prepared`; it is certain that the API did not accept it."""
    context.store.folder(context.run).intent_marker(batch.round, batch.batch).unlink(missing_ok=True)
    known_at = batch.search_started_at or batch.intent_at
    return context.store.transition(
        batch, "prepared", intent_at=None, search_started_at=known_at, base_url=None, workspace_id=None
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


def check_no_lost_round(context: RunContext) -> None:
    """Raise StateError if a recovered run would end before a round that was sent."""
    last = max((batch.round for batch in context.store.batches(context.run)), default=0)
    if lost := context.store.recovered_batches(context.run, last + 1):
        raise StateError(
            f"{lost[0].batch_id} belongs to round {last + 1} of run {context.run.id}, but "
            "the current `retry` allows "
            "fewer rounds: restore `retry` as it was, move .runner away, and recover again"
        )


def _find_recovered_batch(context: RunContext, api: Api, batch: Batch) -> Batch:
    """Bind a batch of a recovered run to the remote batch found, or leave it submitting.

    Any batch of a recovered run may have been sent before; `reconcile` searches for those not found. Raises
    StateError if the remote batches do not fit the prepared ones.
    """
    found = context.store.recovered_batches(context.run, batch.round)
    known = {other.batch: other for other in context.store.batches(context.run) if other.round == batch.round}
    for one in found:
        if one.batch not in known or known[one.batch].requests != one.requests:
            raise StateError(
                f"{one.batch_id} is batch {one.batch} of round {one.round} of run {context.run.id} and has "
                f"{pluralize(one.requests, 'request')}, but the current spec and input do "
                "not produce it: they were "
                "edited after the run was started. Restore them, including batch.max_requests, batch.max_bytes "
                "and retry, and recover again."
            )
    began = min([parse_created_at(context.run.id), *(one.created_at for one in found)])
    batch = context.store.transition(
        batch,
        "submitting",
        intent_at=began,
        # The time in the run's id comes from a clock that may have been wrong.
        search_from=began - _DAY,
        base_url=api.base_url,
        workspace_id=api.fetch_workspace_info().workspace_id,
    )
    for one in found:
        if one.batch == batch.batch:
            remote = api.retrieve_batch(one.batch_id)
            batch = assign_batch_id(context, batch, remote)
            context.report(f"{batch_label(batch)}: found as {batch.batch_id}")
    return batch
