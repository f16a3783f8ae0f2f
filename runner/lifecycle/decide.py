"""What a person decides about batches of which nobody knows whether they were accepted."""

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
from runner.spec import from_record
from runner.store import Batch


@dataclass(frozen=True, slots=True)
class Unknown:
    """A batch whose create got no answer, and the remote batches that could be it; `intent_at` is Unix seconds."""

    name: str
    requests: int
    intent_at: float
    candidates: list[Remote]


def reconcile_run(
    target: str, *, adopt: str | None = None, assume_not_sent: bool = False, report: Report = silent
) -> tuple[Found, list[Unknown]]:
    """Look once for the batches of a run whose creates got no answer, and carry out what a person says of them.

    `adopt` is the id of a remote batch that is one of them; `assume_not_sent` has those that are still not found
    sent again by the next run, even if that pays for them twice. Returns the run as it is then, and what is
    still unknown. Raises UsageError if there is no such run, or if the remote batch cannot be one of its batches.
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
                job.tell(f"{name_of(batch)}: counts as never sent; the next run sends it")
            unknown = []
        left = [Unknown(name_of(one), one.requests, one.intent_at or 0, candidates) for one, candidates in unknown]
        return replace(found, summary=summarize(job.store, job.run)), left


def _refuse_too_early(unknown: list[tuple[Batch, list[Remote]]]) -> None:
    """Raise UsageError if a remote batch that has not ended could be one that is to count as not sent."""
    for batch, candidates in unknown:
        for remote in candidates:
            if remote.processing_status != "ended":
                raise UsageError(
                    f"{name_of(batch)} could be {remote.id}, which tells once it has ended: wait for that, or it "
                    "may be paid twice"
                )


def _submitting(job: Job) -> list[Batch]:
    return [batch for batch in job.store.batches(job.run) if batch.state == "submitting"]


def _adopt(job: Job, api: Api, batch_id: str, unknown: list[Batch]) -> Batch:
    """Bind a remote batch to the one of `unknown` that it can be."""
    try:
        remote = api.retrieve(batch_id)
    except NotFound as error:
        raise UsageError(f"the API does not know {batch_id} in this workspace") from error
    if job.store.is_bound(batch_id):
        raise UsageError(f"{batch_id} is another batch of this project already")
    fitting, is_proved = [batch for batch in unknown if batch.requests == remote.requests], False
    if remote.processing_status == "ended":
        ids = custom_ids(api, remote)
        prefixes = [custom_id(job.run.id, batch.round, batch.batch, 0)[:-1] for batch in fitting]
        proved = [
            batch
            for batch, prefix in zip(fitting, prefixes, strict=True)
            if any(one.startswith(prefix) for one in ids)
        ]
        # Results that nobody can read any more prove nothing: then it is the person's word.
        fitting, is_proved = (proved, True) if ids else (fitting, False)
    if len(fitting) != 1:
        why = "several could be it: wait until it has ended" if fitting else "its request count or ids say so"
        raise UsageError(
            f"{batch_id} ({plural(remote.requests, 'request')}) is not bound to a batch of run {job.run.id}: {why}"
        )
    [batch] = fitting
    bound = bind(job, batch, remote, is_proved=is_proved)
    job.tell(f"{name_of(bound)}: is {batch_id}" + ("" if is_proved else "; its results will prove it"))
    return batch
