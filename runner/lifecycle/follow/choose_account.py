"""Choose the account of the next batch, and leave out accounts that cannot be used."""

import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from runner.api.client import WorkspaceInfo
from runner.errors import AccessError
from runner.lifecycle.follow.following import Following
from runner.lifecycle.follow.progress import AccountMemory
from runner.lifecycle.follow.remote_batches import check_workspace
from runner.store.records import Batch
from runner.store.run_batches import IN_FLIGHT
from runner.text import pluralize


class Chosen(NamedTuple):
    """The account of the next step of a prepared batch, and when that is due, by the monotonic clock."""

    due_at: float
    requests: int
    name: str | None


def find_account(run: Following, batch: Batch) -> Chosen | None:
    """Return the account to send a prepared batch with, or None if all that can are blocked.

    Of those that can take it first, that is the one with the fewest requests in processing.
    """
    now = time.monotonic()
    usable = [_measure(run, name, account) for name, account in _list_usable(run, batch)]
    return min(usable, key=lambda one: (max(one.due_at, now), one.requests), default=None)


def _measure(run: Following, name: str | None, account: AccountMemory) -> Chosen:
    due_at = max(run.memory.creates.due_at, account.creates.due_at, account.look_at)
    return Chosen(due_at, run.count_in_processing(name), name)


def _list_usable(run: Following, batch: Batch) -> Iterator[tuple[str | None, AccountMemory]]:
    for name in run.accounts.names[:1] if _needs_first(run, batch) else run.accounts.names:
        account = run.memory.account(name)
        if account.is_usable:
            yield name, account


def _needs_first(run: Following, batch: Batch) -> bool:
    """Return whether only the first account can send a batch: nothing that it needs is in the others."""
    spec, is_sent_later = run.context.spec, not run.context.run.is_canceled
    is_sync = batch.send_mode != "batch" or run.deadline.requires_sync
    has_uploads = any(block.upload for block in spec.prompt.blocks())
    return is_sent_later and (is_sync or has_uploads or batch.cache is not None or run.context.run.is_pilot)


def block_account(run: Following, account: str | None, error: AccessError, *, only_creates: bool = False) -> None:
    """Go on without an account after an error that neither waiting nor another batch can fix.

    With `only_creates` its batches are still followed. Raises the first error once no account can send.
    """
    memory = run.memory.account(account)
    was_usable = memory.is_usable
    if only_creates:
        memory.creates.blocked_by = error
    else:
        memory.blocked_by = error
    if not was_usable:
        return
    run.memory.access_errors.append(error)
    others = [name for name in run.accounts.names if run.memory.account(name).is_usable]
    if not others:
        raise run.memory.access_errors[0]
    whose, left = f"account {account}: ", ", ".join(name for name in others if name is not None)
    line = f"warning: {whose}{str(error).removeprefix(whose)}; going on with {left}"
    if waiting := 0 if only_creates else _count_in_flight(run, account):
        line += f"; {pluralize(waiting, 'batch')} in {account} will be left"
    run.context.report("warning", line)


def _count_in_flight(run: Following, account: str | None) -> int:
    """Return the number of batches that only this account can follow."""
    return sum(run.memory.find_account(batch) == account for batch in run.batches.in_state(*IN_FLIGHT))


def check_accounts(run: Following) -> None:
    """Check that each batch was sent to the base URL and workspace of its account.

    Goes on without an account that cannot be used. Raises AccessError if none can, or for a batch whose account is
    another one now, or not in the settings; and Unavailable.
    """
    batches = run.context.store.batches(run.context.run)
    sent = [one for one in batches if one.state in IN_FLIGHT and one.send_mode == "batch"]
    searched = [(batch, run.accounts.search(batch)) for batch in sent]
    if not run.accounts.are_named:
        # Those that had an account are collected, and needed no more.
        check_workspace((one for one in batches if one.account is None), run.accounts.first)
        return
    found: dict[str | None, WorkspaceInfo] = {}
    for name, api in run.accounts:
        try:
            found[name] = api.fetch_workspace_info()
        except AccessError as error:
            block_account(run, name, error)
    _warn_of_shared_queues(run, found)
    clients = {name: api for _, accounts in searched for name, api in accounts}
    # Of batches from before there were accounts.
    others = {name: api for name, api in clients.items() if name not in run.accounts.names}
    found |= {name: api.fetch_workspace_info() for name, api in others.items()}
    for batch, accounts in searched:
        for name, api in accounts:
            if name in found:
                check_workspace([batch], api, found[name])


def _warn_of_shared_queues(run: Following, found: Mapping[str | None, WorkspaceInfo]) -> None:
    """Report accounts whose keys are of the same organization: its limits are for all of them together."""
    first: dict[str, str | None] = {}
    for name, info in found.items():
        for kind, one in (("workspace", info.workspace_id), ("organization", info.organization_id)):
            if one is not None and first.setdefault(one, name) != name:
                line = f"warning: accounts {first[one]} and {name} are of the same {kind}: they share one queue"
                run.context.report("warning", line)
                break
