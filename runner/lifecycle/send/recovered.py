"""Batches that may have been sent although the database has no record of it: restored or recovered states."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from runner.api.accounts import Accounts
from runner.api.client import Api
from runner.api.remote_batch import RemoteBatch
from runner.errors import NotFound, StateError
from runner.lifecycle.send.bind import assign_batch_id
from runner.lifecycle.send.cost_cap import batch_cost_upper_bound
from runner.runs.context import RunContext
from runner.store.records import Batch, Run
from runner.store.run_batches import key_of
from runner.store.run_ids import parse_created_at
from runner.store.store import Store
from runner.text import pluralize

_DAY = 86_400
# Marks of state version 4 and older have the column names of their time.
_OLD_COLUMNS = {"unknown_at": "search_started_at", "unknown_since": "search_started_local"}
# Times in a mark that the database does not have.
_CLOCKS = ("local_at", "newest_at")


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
    before = [one for one in context.store.run_batches(context.run) if one.round == batch.round - 1]
    return not any(folder.intent_marker(one.round, one.batch).exists() for one in before)


def find_unconfirmed_batches(store: Store, run: Run) -> list[Batch]:
    """Return the batches that a recovered run would send without consent: no remote batch was found for them."""
    if not run.needs_consent:
        return []
    prepared = [batch for batch in store.batches(run) if batch.state == "prepared"]
    found = {
        (one.round, one.batch)
        for round in {batch.round for batch in prepared}
        for one in store.remote_index.recovered_batches(run, round)
    }
    return [batch for batch in prepared if key_of(batch) not in found]


def check_no_lost_round(context: RunContext) -> None:
    """Raise StateError if a recovered run would end before a round that was sent."""
    last = context.store.run_batches(context.run).last_round
    if lost := context.store.remote_index.recovered_batches(context.run, last + 1):
        raise StateError(
            f"{lost[0].batch_id} belongs to round {last + 1} of run {context.run.id}, but the current `retry` "
            f"allows fewer rounds: restore `retry` as it was, {context.store.fresh_start}, and recover again"
        )


def _find_recovered_batch(context: RunContext, accounts: Accounts, batch: Batch) -> Batch:
    """Bind a batch of a recovered run to the remote batch found, or leave it submitting.

    Any batch of a recovered run may have been sent before; `reconcile` searches for those not found. Raises
    StateError if the remote batches do not fit the prepared ones.
    """
    found = context.store.remote_index.recovered_batches(context.run, batch.round)
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
        account=accounts.any_name,
        base_url=accounts.first.base_url,
        workspace_id=None if accounts.are_several else accounts.first.fetch_workspace_info().workspace_id,
        queue=accounts.first.name_queue(accounts.any_name),
        reserved_cost=batch_cost_upper_bound(context, batch),
    )
    for one in found:
        if one.batch == batch.batch:
            name, remote = retrieve_batch(accounts, one.batch_id)
            batch = assign_batch_id(context, batch, remote, name)
            context.report("found", f"found as {batch.batch_id}", batch)
    return batch


def retrieve_batch(accounts: Iterable[tuple[str | None, Api]], batch_id: str) -> tuple[str | None, RemoteBatch]:
    """Return a remote batch from the account that has it, with its name. Raises NotFound if none has it."""
    *others, last = accounts
    for name, api in others:
        with suppress(NotFound):
            return name, api.retrieve_batch(batch_id)
    name, api = last
    return name, api.retrieve_batch(batch_id)


def _read_intent_fields(sent: Path) -> dict[str, Any]:
    """Read a `.sent` mark. Raises StateError if it is damaged."""
    try:
        return msgspec.json.decode(sent.read_bytes(), type=dict[str, Any])
    except ValueError as error:
        raise StateError(f"{sent} is damaged: {error}") from error


def _read_intent(sent: Path) -> dict[str, Any]:
    """Read the intent from a `.sent` mark, by the columns of the database. Raises StateError if it is damaged."""
    intent = _read_intent_fields(sent)
    return {_OLD_COLUMNS.get(name, name): value for name, value in intent.items() if name not in _CLOCKS}


def read_sent_times(context: RunContext, batch: Batch) -> list[float]:
    """Return the times beside the intent of a batch: by the local clock, and of the newest batch at that time.

    Empty if its mark is missing, unreadable or of an older version.
    """
    marker = context.store.folder(context.run).intent_marker(batch.round, batch.batch)
    try:
        intent = _read_intent_fields(marker)
    except (OSError, StateError):
        return []
    return [float(at) for at in map(intent.get, _CLOCKS) if isinstance(at, int | float)]


def find_earlier_create(context: RunContext, accounts: Accounts, batch: Batch) -> Batch:
    """Return a batch that may have been sent before as submitting, or as submitted if it is already identified.

    `reconcile` searches for one that is submitting. Raises StateError if what was sent does not fit the state.
    """
    if _may_predate_state_loss(context, batch):
        return _find_recovered_batch(context, accounts, batch)
    marker = context.store.folder(context.run).intent_marker(batch.round, batch.batch)
    line = "may have been sent before: its intent is on disk, but not in the database"
    context.report("searching", line, batch)
    upper_bound = batch_cost_upper_bound(context, batch)
    return context.store.transition(batch, "submitting", **_read_intent(marker), reserved_cost=upper_bound)
