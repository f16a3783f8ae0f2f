"""Perform the steps of a batch: one function for each, which says when the next one is due.

Each returns Wait, Retry or Blocked, or raises an error of `runner.errors` that `perform` turns into one of them.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress

import msgspec

from runner.api.remote_batch import RemoteBatch
from runner.errors import (
    CostCapReached,
    FileChanged,
    ManualDecisionRequired,
    NotFound,
    RequestRejected,
    ResultsIncomplete,
    RunnerError,
    StateError,
    Unavailable,
)
from runner.lifecycle.deliver.collect import collect_results, mark_missing, plan_download
from runner.lifecycle.deliver.missing_results import (
    MAX_EARLY_DOWNLOADS,
    is_patience_over,
    plan_waiting,
    record_incomplete_download,
    seconds_until_download,
)
from runner.lifecycle.follow.following import Following
from runner.lifecycle.follow.lost_results import are_results_lost, results_lost_error
from runner.lifecycle.follow.next_step import Step
from runner.lifecycle.follow.perform_create import create_batch, find_created, send_requests
from runner.lifecycle.follow.progress import Blocked, Result, Retry, Wait
from runner.lifecycle.follow.reconcile import reconcile_batch
from runner.lifecycle.follow.remote_batches import CLOCK_MARGIN_SECONDS
from runner.lifecycle.prepare.remove_marks import remove_marks_of_batch
from runner.lifecycle.send.canary import check_canary
from runner.lifecycle.send.refusal import bisect_batch, rejected_batch_error
from runner.lifecycle.send.synchronous import split_into_chunks
from runner.lifecycle.send.upload_files import upload_files
from runner.lifecycle.send.warm_up import split_off_warm_up
from runner.store.records import Batch
from runner.text import pluralize

_DAY = 86_400


def _end_as_canceled(run: Following, batch: Batch) -> Result:
    store = run.context.store
    rows = ((row, "canceled", False, None, None) for row in store.row_index.rows_of(batch))
    store.collect_batch(batch, rows, reserved_cost=None)
    return Wait()


def _split_rejected(run: Following, batch: Batch) -> Result:
    bisect_batch(run.context, batch)
    return Wait()


def _report_rejected(run: Following, batch: Batch) -> Result:
    return Blocked(rejected_batch_error(run.context, batch))


def _check_canary(run: Following, _: Batch) -> Result:
    run.canary_passed = check_canary(run.context, run.output_format)
    return Wait()


def _upload_files(run: Following, batch: Batch) -> Result:
    try:
        upload_files(run.context, run.api, batch, run.stop)
    except (RequestRejected, StateError) as error:
        return Blocked(error)
    run.memory.of(batch).has_uploaded = True
    return Wait()


def _split_for_sync(run: Following, batch: Batch) -> Result:
    split_into_chunks(run.context, batch)
    return Wait()


def _warm_cache(run: Following, batch: Batch) -> Result:
    split_off_warm_up(run.context, batch)
    return Wait()


def _remove_marks(run: Following, batch: Batch) -> Result:
    run.context.report("cache", "sent without a cache mark: the cache is not warm", batch)
    remove_marks_of_batch(run.context, batch)
    return Wait()


def _reconcile(run: Following, batch: Batch) -> Result:
    progress = run.memory.of(batch)
    batch, candidates = reconcile_batch(run.context, run.accounts, batch)
    if batch.state == "submitted":
        run.rejections = 0
    ids = frozenset(remote.id for remote in candidates)
    if ids - progress.candidates:
        found = f"{pluralize(len(ids), 'candidate')} ({', '.join(sorted(ids))})"
        run.context.report("searching", f"{found}; waiting for their results to tell which is ours", batch)
    progress.candidates = ids
    if batch.state == "submitting":
        return Wait(run.memory.of(batch).plan_search(run.context.spec.batch.grace_seconds))
    return Wait()


def _poll(run: Following, batch: Batch) -> Result:
    store = run.context.store
    remote = run.accounts.of(batch).retrieve_batch(batch.batch_id or "")
    if batch.not_found_since is not None:
        batch = store.transition(batch, batch.state, not_found_since=None)
    if remote.processing_status != "ended":
        return _wait_for_end(run, batch, remote)
    if remote.archived_at is not None:
        return _lose_results(run, batch)
    counts, now = msgspec.json.encode(remote.counts).decode(), run.api.now
    # The wait for missing results begins when the batch ended: a time in the future would make it endless.
    is_past = remote.ended_at is not None and remote.ended_at <= now + CLOCK_MARGIN_SECONDS
    store.transition(batch, "ended", ended_at=remote.ended_at if is_past else now, counts=counts)
    run.context.report("ended", "ended", batch)
    run.memory.look_at_queues()
    return Wait()


def _wait_for_end(run: Following, batch: Batch, remote: RemoteBatch) -> Wait:
    """Wait for a batch that the API still processes; cancel it first if its results are not wanted any more."""
    is_run_canceled = run.context.run.is_canceled
    is_unwanted = is_run_canceled or run.deadline.requires_sync
    if is_unwanted and remote.processing_status == "in_progress":
        if batch.canceled_at is None and not is_run_canceled:
            # Recorded first: whatever is edited later, its rows are still to be sent.
            run.context.store.transition(batch, batch.state, canceled_at=run.api.now)
        with suppress(RequestRejected):  # it has ended meanwhile
            run.accounts.of(batch).cancel_batch(remote.id)
    return Wait(min(run.memory.poll_seconds, 5.0 if is_unwanted else math.inf))


def _collect(run: Following, batch: Batch) -> Result:
    now = run.api.now
    is_patient = not (run.accept_loss or run.context.run.is_canceled or run.deadline.has_ended_waiting)
    if is_patient and (pause := seconds_until_download(run.context, batch, now)) > 0:
        return Wait(pause)
    # Results that are late can still come.
    age = now - (batch.ended_at or 0)
    is_late = batch.incomplete_downloads >= MAX_EARLY_DOWNLOADS and age > run.context.spec.batch.grace_seconds
    collect_results(
        run.context,
        batch,
        run.output_format,
        lambda: run.downloads.finish(batch, plan_download(run.context, run.accounts.of(batch), batch)),
        run.pool,
        is_last_try=is_late,
        is_patient=is_patient and not is_patience_over(run.context, batch, now),
        accept_loss=run.accept_loss or age > _DAY,
        resend_canceled=batch.canceled_at is not None and not run.context.run.is_canceled,
    )
    return Wait()


def _lose_results(run: Following, batch: Batch, cause: NotFound | None = None) -> Result:
    if not run.accept_loss:
        return Blocked(results_lost_error(batch, cause))
    mark_missing(run.context, batch)
    return Wait()


PERFORMERS: Mapping[Step, Callable[[Following, Batch], Result]] = {
    Step.FIND_EARLIER_CREATE: find_created,
    Step.END_AS_CANCELED: _end_as_canceled,
    Step.SPLIT_REJECTED: _split_rejected,
    Step.REPORT_REJECTED: _report_rejected,
    Step.CHECK_CANARY: _check_canary,
    Step.UPLOAD_FILES: _upload_files,
    Step.SPLIT_FOR_SYNC: _split_for_sync,
    Step.SEND_SYNC: send_requests,
    Step.WARM_CACHE: _warm_cache,
    Step.REMOVE_MARKS: _remove_marks,
    Step.CREATE: create_batch,
    Step.RECONCILE: _reconcile,
    Step.POLL: _poll,
    Step.COLLECT: _collect,
}


def _result_of_error(run: Following, batch: Batch, error: RunnerError) -> Result:
    """Return how a run goes on after an error of one batch. Raises the error if the run cannot."""
    match error:
        case ResultsIncomplete():
            batch = record_incomplete_download(run.context, batch, run.api.now)
            pause = plan_waiting(run.context, batch).pause
            run.context.report("retrying", f"{error}; downloading them again in {pause:.0f} s", batch)
            return Wait(pause)
        case Unavailable():
            return Retry(error, error.retry_after)
        case RequestRejected() | NotFound():
            return Retry(error)
        case ManualDecisionRequired() | FileChanged():
            return Blocked(error)
        case CostCapReached():
            return Blocked(error, is_run_wide=True)
    raise error


def perform(step: Step, run: Following, batch: Batch) -> Result:
    """Perform one step of a batch.

    Raises what neither waiting nor another batch can fix: AccessError, CanaryFailed, StateError.
    """
    try:
        try:
            return PERFORMERS[step](run, batch)
        except NotFound as error:
            if batch.batch_id is not None and are_results_lost(run.context, run.accounts.of(batch), batch):
                return _lose_results(run, batch, error)
            raise
    except RunnerError as error:
        return _result_of_error(run, batch, error)
