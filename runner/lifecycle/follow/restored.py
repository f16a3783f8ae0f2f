"""Batches of an older state that was restored: an earlier process may have sent what the state has as prepared.

The state cannot tell, so a process that resumes a run lists the workspace once before its first create. Batches
that the state does not know, and that have the request count of a prepared batch, are proved by their custom_ids.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from runner.api.accounts import Accounts
from runner.api.client import Api
from runner.api.remote_batch import RemoteBatch
from runner.lifecycle.follow.remote_batches import CLOCK_MARGIN_SECONDS, read_custom_ids
from runner.lifecycle.send.bind import assign_batch_id
from runner.requests.custom_id import custom_id_prefix
from runner.runs.context import RunContext
from runner.store.records import Batch, Run

_DAY = 86_400


@dataclass(slots=True)
class EarlierCreates:
    """The remote batches that the state of a resumed run does not know, and the batches compared with them.

    `remotes` holds them by account; it is None until the workspaces are listed. `ids` holds the custom_ids read so
    far, by batch id.
    """

    is_resumed: bool
    remotes: list[tuple[str | None, Api, RemoteBatch]] | None = None
    ids: dict[str, list[str]] = field(default_factory=dict)
    checked: set[tuple[int, int]] = field(default_factory=set)

    def is_to_check(self, batch: Batch) -> bool:
        """Return whether an earlier process may have sent this prepared batch."""
        return self.is_resumed and (batch.round, batch.batch) not in self.checked

    def read_ids(self, api: Api, remote: RemoteBatch) -> list[str]:
        """Return the first custom_ids of a remote batch; empty while it has not ended."""
        if remote.id not in self.ids:
            self.ids[remote.id] = read_custom_ids(api, remote) if remote.processing_status == "ended" else []
        return self.ids[remote.id]


def find_restored_create(context: RunContext, accounts: Accounts, batch: Batch, earlier: EarlierCreates) -> Batch:
    """Return a prepared batch as submitted if a remote batch is proved to be it.

    While one that could be it has not ended, it is returned as submitting, and `reconcile` waits for the proof.
    Otherwise it is still prepared, and can be sent.
    """
    if earlier.remotes is None:
        earlier.remotes = list(_list_unknown(context, accounts))
    prefix = custom_id_prefix(context.run.id, batch.round, batch.batch)
    is_undecided = False
    for name, api, remote in earlier.remotes:
        if remote.requests != batch.requests or context.store.remote_index.is_excluded(batch, remote.id):
            continue
        ids = earlier.read_ids(api, remote)
        if any(one.startswith(prefix) for one in ids):
            batch = assign_batch_id(context, _suspect_create(context, accounts, batch), remote, name)
            line = f"was sent before, as {batch.batch_id}: the state is older than that"
            context.report("found", line, batch)
            return batch
        is_undecided = is_undecided or not ids
    earlier.checked.add((batch.round, batch.batch))
    return _suspect_create(context, accounts, batch) if is_undecided else batch


def _list_unknown(context: RunContext, accounts: Accounts) -> Iterator[tuple[str | None, Api, RemoteBatch]]:
    """Yield the remote batches of all accounts since the run began that the state does not know."""
    since = _began_at(context.run) - CLOCK_MARGIN_SECONDS
    for name, api in accounts:
        for remote in list(api.list_batches(created_after=since)):
            if not context.store.remote_index.is_assigned(remote.id):
                yield name, api, remote


def _began_at(run: Run) -> float:
    """Return a time before the first create of a run; its local clock may have been wrong by hours."""
    return run.created_at - _DAY if run.started_at is None else run.started_at


def _suspect_create(context: RunContext, accounts: Accounts, batch: Batch) -> Batch:
    """Return a prepared batch as submitting: it may have been sent since the run began, with each account."""
    info, began = accounts.first.fetch_workspace_info(), _began_at(context.run)
    return context.store.transition(
        batch,
        "submitting",
        intent_at=began,
        search_from=began,
        assumed_unsent_at=info.now,
        reserved_cost=None,
        account=accounts.any_name,
        base_url=accounts.first.base_url,
        workspace_id=None if accounts.are_several else info.workspace_id,
        queue=accounts.first.name_queue(accounts.any_name),
    )
