"""Resolve batches whose creation is in doubt, on the user's decision."""

from dataclasses import dataclass, replace
from pathlib import Path

from runner.api import Api, Remote
from runner.body import custom_id
from runner.errors import NotFound, UsageError
from runner.lifecycle.execute import connected
from runner.lifecycle.inspect import Found, one_run, opened
from runner.lifecycle.job import Job, Report, name_of, plural, silent, summarize
from runner.lifecycle.reconcile import check_account, custom_ids, search
from runner.lifecycle.record import recorded
from runner.lifecycle.submit import bind, unsend
from runner.spec.load import from_record
from runner.store.records import Batch


@dataclass(frozen=True, slots=True)
class Unknown:
    """A batch whose create request got no response, and the remote batches that could be it.

    `intent_at` is in Unix seconds.
    """

    name: str
    requests: int
    intent_at: float
    candidates: list[Remote]


def reconcile_run(
    target: str, *, adopt: str | None = None, assume_not_sent: bool = False, report: Report = silent
) -> tuple[Found, list[Unknown]]:
    """Search once for batches whose create request got no response, and apply the user's decision.

    `adopt` is the id of a remote batch that is one of them. With `assume_not_sent`, the next run sends those still
    not found, even if they are then paid for twice. Returns the updated run, and the batches still unknown.

    Raises UsageError if no run matches, or if the remote batch cannot be one of its batches. Also raises
    UsageError for `assume_not_sent` while an unfinished remote batch could be one of them.
    """
    found = one_run(target)
    with (
        opened(found) as (store, run),
        connected(store.path, simulate=found.is_simulated) as api,
    ):
        spec = from_record(recorded(store, run).record, path=Path(run.spec_path), root=found.base)
        job = Job(spec, store, run, found.base, report)
        check_account(store.batches(run), api)
        unknown = []
        for batch in _submitting(job):
            batch, candidates = search(job, api, batch)
            if batch.state == "submitting":
                unknown.append((batch, candidates))
        if adopt is not None and unknown:
            adopted = _adopt(job, api, adopt, [batch for batch, _ in unknown])
            unknown = [(batch, candidates) for batch, candidates in unknown if batch != adopted]
        if assume_not_sent:
            _refuse_too_early(unknown)
            for batch, _ in unknown:
                unsend(job, batch)
                job.tell(f"{name_of(batch)}: treated as never sent; the next run sends it")
            unknown = []
        left = [Unknown(name_of(one), one.requests, one.intent_at or 0, candidates) for one, candidates in unknown]
        return replace(found, summary=summarize(job.store, job.run)), left


def _refuse_too_early(unknown: list[tuple[Batch, list[Remote]]]) -> None:
    """Raise UsageError if an unfinished remote batch could be one of the unknown batches."""
    for batch, candidates in unknown:
        for remote in candidates:
            if remote.processing_status != "ended":
                raise UsageError(
                    f"{name_of(batch)} could be {remote.id}, which is unfinished: wait until it has ended and its "
                    "results identify it, or the batch may be paid twice"
                )


def _submitting(job: Job) -> list[Batch]:
    return [batch for batch in job.store.batches(job.run) if batch.state == "submitting"]


def _adopt(job: Job, api: Api, batch_id: str, unknown: list[Batch]) -> Batch:
    """Bind a remote batch to the only batch of `unknown` that it can be; raise UsageError otherwise."""
    try:
        remote = api.retrieve(batch_id)
    except NotFound as error:
        raise UsageError(f"{batch_id} not found in this workspace: check the ID and the API key") from error
    if job.store.is_bound(batch_id):
        raise UsageError(f"{batch_id} already belongs to another batch of this project")
    fitting, is_proved = [batch for batch in unknown if batch.requests == remote.requests], False
    if remote.processing_status == "ended":
        ids = custom_ids(api, remote)
        prefixes = [custom_id(job.run.id, batch.round, batch.batch, 0)[:-1] for batch in fitting]
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
            f"{batch_id} ({plural(remote.requests, 'request')}) cannot be adopted by run {job.run.id}: {why}"
        )
    [batch] = fitting
    bound = bind(job, batch, remote, is_proved=is_proved)
    job.tell(f"{name_of(bound)}: adopted {batch_id}" + ("" if is_proved else "; its results will confirm it"))
    return batch
