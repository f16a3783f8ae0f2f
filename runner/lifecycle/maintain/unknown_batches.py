"""Resolve batches whose creation is in doubt, on the user's decision."""

from dataclasses import dataclass, replace
from pathlib import Path

from runner.api.accounts import Accounts
from runner.api.remote_batch import RemoteBatch
from runner.errors import NotFound, UsageError
from runner.lifecycle.follow.reconcile import find_batch
from runner.lifecycle.follow.remote_batches import check_workspaces, read_custom_ids
from runner.lifecycle.send.bind import assign_batch_id, reset_to_prepared
from runner.lifecycle.send.recovered import retrieve_batch
from runner.requests.custom_id import custom_id_prefix
from runner.runs.context import RunContext, batch_label
from runner.runs.events import ProgressCallback, ignore_progress
from runner.runs.find import RunInfo, find_run, open_run
from runner.runs.project import open_accounts
from runner.runs.snapshot import read_endpoint, read_snapshot
from runner.runs.summary import summarize_run
from runner.spec.record import spec_from_record
from runner.store.records import Batch
from runner.text import pluralize


@dataclass(frozen=True, slots=True)
class UnknownBatch:
    """A batch whose create request got no response, and the remote batches that could be it.

    `intent_at` is in Unix seconds.
    """

    name: str
    requests: int
    intent_at: float
    candidates: list[RemoteBatch]


def reconcile_run(
    target: str,
    *,
    adopt: str | None = None,
    assume_not_sent: bool = False,
    report: ProgressCallback = ignore_progress,
) -> tuple[RunInfo, list[UnknownBatch]]:
    """Search once for batches whose create request got no response, and apply the user's decision.

    `adopt` is the id of a remote batch that is one of them. With `assume_not_sent`, the next run sends those still
    not found, even if they are then paid for twice. Returns the updated run, and the batches still unknown.

    Raises UsageError if no run matches, or if the remote batch cannot be one of its batches. Also raises
    UsageError for `assume_not_sent` while an unfinished remote batch could be one of them.
    """
    found = find_run(target)
    with (
        open_run(found) as (store, run),
        open_accounts(store.path, read_endpoint(store, run), simulate=found.is_simulated) as accounts,
    ):
        spec = spec_from_record(read_snapshot(store, run).record, path=Path(run.spec_path), root=found.output_root)
        context = RunContext(spec, store, run, found.output_root, report)
        check_workspaces(store.batches(run), accounts)
        unknown = _search_once(context, accounts)
        if adopt is not None and unknown:
            adopted = _adopt_batch(context, accounts, adopt, [batch for batch, _ in unknown])
            unknown = [(batch, candidates) for batch, candidates in unknown if batch != adopted]
        if assume_not_sent:
            _treat_as_never_sent(context, unknown)
            unknown = []
        left = [
            UnknownBatch(batch_label(one), one.requests, one.intent_at or 0, candidates)
            for one, candidates in unknown
        ]
        return replace(found, summary=summarize_run(context.store, context.run)), left


def _search_once(context: RunContext, accounts: Accounts) -> list[tuple[Batch, list[RemoteBatch]]]:
    """Search for every submitting batch; return those not found, with their candidates."""
    searched = [find_batch(context, accounts, batch) for batch in _submitting_batches(context)]
    return [(batch, candidates) for batch, candidates in searched if batch.state == "submitting"]


def _treat_as_never_sent(context: RunContext, unknown: list[tuple[Batch, list[RemoteBatch]]]) -> None:
    _require_ended_candidates(unknown)
    for batch, candidates in unknown:
        is_refused = batch.assumed_unsent_at is not None and not candidates
        reset_to_prepared(context, batch, is_doubted=not is_refused)
        context.report("found", "treated as never sent; the next run sends it", batch)


def _require_ended_candidates(unknown: list[tuple[Batch, list[RemoteBatch]]]) -> None:
    """Raise UsageError if an unfinished remote batch could be one of the unknown batches."""
    for batch, candidates in unknown:
        for remote in candidates:
            if remote.processing_status != "ended":
                raise UsageError(
                    f"{batch_label(batch)} could be {remote.id}, which is unfinished: wait "
                    "until it has ended and its "
                    "results identify it, or the batch may be paid twice"
                )


def _submitting_batches(context: RunContext) -> list[Batch]:
    return [batch for batch in context.store.batches(context.run) if batch.state == "submitting"]


def _adopt_batch(context: RunContext, accounts: Accounts, batch_id: str, unknown: list[Batch]) -> Batch:
    """Bind a remote batch to the only batch of `unknown` that it can be; raise UsageError otherwise."""
    clients = {name: api for batch in unknown for name, api in accounts.search(batch)}
    try:
        name, remote = retrieve_batch(clients.items(), batch_id)
    except NotFound as error:
        raise UsageError(f"{batch_id} not found in this workspace: check the ID and the API key") from error
    if context.store.remote_index.is_assigned(batch_id):
        raise UsageError(f"{batch_id} already belongs to another batch of this project")
    there = [batch for batch in unknown if name in [one for one, _ in accounts.search(batch)]]
    fitting, is_proved = [batch for batch in there if batch.requests == remote.requests], False
    if remote.processing_status == "ended":
        ids = read_custom_ids(clients[name], remote)
        prefixes = [custom_id_prefix(context.run.id, batch.round, batch.batch) for batch in fitting]
        proved = [
            batch
            for batch, prefix in zip(fitting, prefixes, strict=True)
            if any(one.startswith(prefix) for one in ids)
        ]
        # Results that can no longer be read prove nothing: rely on the user's word.
        fitting, is_proved = (proved, True) if ids else (fitting, False)
    if len(fitting) != 1:
        why = (
            "it could be any of several batches: wait until it has ended"
            if fitting
            else "its request count or its custom_ids match none of the unknown batches"
        )
        raise UsageError(
            f"{batch_id} ({pluralize(remote.requests, 'request')}) cannot be adopted by "
            f"run {context.run.id}: {why}"
        )
    [batch] = fitting
    if not is_proved and len(accounts.search(batch)) > 1:
        raise UsageError(
            f"{batch_label(batch)} may be in another account than {batch_id}: wait until that has ended"
        )
    bound = assign_batch_id(context, batch, remote, name, is_proved=is_proved)
    doubt = "" if is_proved else "; its results will confirm it"
    context.report("found", f"adopted {batch_id}{doubt}", bound)
    return batch
