"""Main loop of a run: read the state, do the next step of each batch, wait, and repeat.

New work and work found after a crash take the same path, because the state alone determines the next step.
"""

import math
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event

import msgspec

from runner.api.client import Api
from runner.errors import (
    ApiError,
    CostCapReached,
    ManualDecisionRequired,
    NotFound,
    RequestRejected,
    ResultsIncomplete,
    ResultsLost,
    RunnerError,
    StateError,
    Unavailable,
)
from runner.lifecycle.deliver.collect import collect_results, mark_missing
from runner.lifecycle.follow.lost_results import RETENTION_SECONDS, are_results_lost, results_lost_error
from runner.lifecycle.follow.reconcile import reconcile_batch
from runner.lifecycle.follow.remote_batches import check_workspace
from runner.lifecycle.follow.schedule import CREATE_KEY, BatchKey, Schedule
from runner.lifecycle.prepare.next_round import prepare_next_round
from runner.lifecycle.send import synchronous as answer
from runner.lifecycle.send.canary import check_canary
from runner.lifecycle.send.cost_cap import reserve_cost
from runner.lifecycle.send.deadline import Deadline
from runner.lifecycle.send.recovered import check_no_lost_round, may_have_been_sent
from runner.lifecycle.send.refusal import (
    bisect_batch,
    is_culprit,
    record_rejection,
    reject_row,
    rejected_batch_error,
)
from runner.lifecycle.send.submit import submit_batch
from runner.lifecycle.send.upload_files import upload_files
from runner.results.output_format import OutputFormat
from runner.runs.context import RunContext, batch_label
from runner.store.records import Batch

_MAX_DOWNLOADS = 3


_DAY = 86_400


_WARNING_SECONDS = 21 * _DAY


# Halving 100,000 requests down to one takes 17 steps of two creates.
_MAX_REJECTIONS = 40


def _batch_key(batch: Batch) -> BatchKey:
    return batch.round, batch.batch


def _schedule_key(batch: Batch) -> BatchKey:
    return CREATE_KEY if batch.state == "prepared" else _batch_key(batch)


@dataclass(slots=True)
class _RunLoop:
    """Does the steps; `blocked` holds what keeps a batch from its end in this process, while the others go on."""

    job: RunContext
    api: Api
    output_format: OutputFormat
    schedule: Schedule
    accept_loss: bool
    stop: Event
    deadline: Deadline
    blocked: dict[BatchKey, RunnerError] = field(default_factory=dict)
    rejections: int = 0
    search_attempts: dict[BatchKey, int] = field(default_factory=dict)
    retried: set[BatchKey] = field(default_factory=set)
    candidates: dict[BatchKey, set[str]] = field(default_factory=dict)
    uploaded: set[BatchKey] = field(default_factory=set)
    has_canary_passed: bool = False

    def run_step(self, batch: Batch) -> None:
        """Do the next step of one batch; a fault that may pass puts the batch off."""
        steps = {
            "prepared": self._send_prepared,
            "submitting": self._reconcile,
            "submitted": self._poll,
            "ended": self._collect,
        }
        try:
            try:
                steps[batch.state](batch)
            except NotFound as error:
                if batch.batch_id is not None and are_results_lost(self.job, self.api, batch):
                    self._handle_lost_results(batch, error)
                else:
                    self._retry_later(batch, error)
        except ResultsIncomplete as error:
            self.job.store.transition(batch, batch.state, incomplete_downloads=batch.incomplete_downloads + 1)
            self._retry_later(batch, error)
        except (RequestRejected, NotFound) as error:
            self._retry_later(batch, error)
        except Unavailable as error:
            self._retry_later(batch, error, error.retry_after)
        except ManualDecisionRequired as error:
            self.blocked[_batch_key(batch)] = error
        except CostCapReached as error:
            self.blocked[CREATE_KEY] = error

    def _retry_later(self, batch: Batch, error: ApiError, retry_after: float | None = None) -> None:
        delay = self.schedule.backoff(_schedule_key(batch), retry_after)
        self.job.report(f"{batch_label(batch)}: {error}; trying again in {delay:.0f} s")

    def _handle_lost_results(self, batch: Batch, error: NotFound | None = None) -> None:
        if self.accept_loss:
            mark_missing(self.job, batch)
        else:
            self.blocked[_batch_key(batch)] = results_lost_error(batch, error)

    def _send_prepared(self, batch: Batch) -> None:
        if batch.send_mode == "batch" and may_have_been_sent(self.job, batch):
            self._create_batch(batch)
            return
        if self.job.run.is_canceled and not self._has_sync_journal(batch):
            never_sent = ((row, "canceled", False, None, None) for row in self.job.store.rows_of(batch))
            self.job.store.collect_batch(batch, never_sent)
            return
        if batch.rejection is not None:
            if not bisect_batch(self.job, batch):
                self.blocked[_batch_key(batch)] = rejected_batch_error(self.job, batch)
            return
        if batch.send_mode != "canary" and not self.has_canary_passed:
            self.has_canary_passed = check_canary(self.job, self.output_format)
            if not self.has_canary_passed:
                return
        if _batch_key(batch) not in self.uploaded:
            try:
                is_changed = upload_files(self.job, self.api, batch, self.stop)
            except (RequestRejected, StateError) as error:
                self.blocked[_batch_key(batch)] = error
                return
            self.uploaded.add(_batch_key(batch))
            if is_changed:
                self.schedule.delay(CREATE_KEY, 0)
                return
        is_begun = self._has_sync_journal(batch)
        send_mode = (
            "sync" if batch.send_mode == "batch" and (self.deadline.requires_sync or is_begun) else batch.send_mode
        )
        if send_mode == "sync" and not is_begun and answer.needs_splitting(batch):
            answer.split_into_chunks(self.job, batch)
            return
        reserved = reserve_cost(self.job, batch, send_mode, can_wait=self._has_unfinished_batches())
        if reserved is None:
            self.schedule.delay(CREATE_KEY, min(1.0, self.schedule.poll_seconds))
        elif send_mode == "batch":
            self._create_batch(reserved)
        else:
            self._send_synchronously(reserved)

    def _has_unfinished_batches(self) -> bool:
        """Whether a batch is under way that will be collected."""
        batches = self.job.store.batches(self.job.run)
        return any(one.state in _UNFINISHED_STATES and not self.is_blocked(one) for one in batches)

    def _has_sync_journal(self, batch: Batch) -> bool:
        """Whether some of a prepared batch was sent synchronously, which the database has forgotten."""
        return self.job.store.folder(self.job.run).sync_journal(batch.round, batch.batch).exists()

    def _send_synchronously(self, batch: Batch) -> None:
        answer.send_synchronously(self.job, self.api, batch, stop=self.stop)
        self.schedule.delay(_batch_key(batch), 0)
        self.schedule.delay(CREATE_KEY, 0)

    def _create_batch(self, batch: Batch) -> None:
        try:
            batch = submit_batch(self.job, self.api, batch)
        except RequestRejected as error:
            # What was one request already when it was refused before says nothing new.
            self.rejections += batch.accepted_before_rejection is None or batch.requests > 1
            batch = record_rejection(self.job, batch, error)
            if self.rejections >= _MAX_REJECTIONS:
                self.blocked[CREATE_KEY] = rejected_batch_error(self.job, batch)
            return
        self.rejections = 0
        self.schedule.delay(CREATE_KEY, 0)
        key, is_sent = _batch_key(batch), batch.state == "submitted"
        self.schedule.delay(key, self.schedule.poll_seconds if is_sent else self._next_search_delay(key))

    def _reconcile(self, batch: Batch) -> None:
        key = _batch_key(batch)
        batch, candidates = reconcile_batch(self.job, self.api, batch)
        if batch.state == "submitted":
            self.rejections = 0
        ids = {remote.id for remote in candidates}
        if ids - self.candidates.get(key, set()):
            self.job.report(
                f"{batch_label(batch)}: could be {' or '.join(sorted(ids))}; waiting for "
                "its results to identify it"
            )
        self.candidates[key] = ids
        self.schedule.delay(key, self._next_search_delay(key) if batch.state == "submitting" else 0)

    def _poll(self, batch: Batch) -> None:
        if batch.send_mode != "batch":
            self._send_synchronously(batch)
            return
        remote = self.api.retrieve_batch(batch.batch_id or "")
        if batch.not_found_since is not None:
            batch = self.job.store.transition(batch, batch.state, not_found_since=None)
        if remote.processing_status != "ended":
            is_unwanted = self.job.run.is_canceled or self.deadline.requires_sync
            if is_unwanted and remote.processing_status == "in_progress":
                if batch.canceled_at is None and not self.job.run.is_canceled:
                    # Recorded first: whatever is edited later, its rows are still to be sent.
                    batch = self.job.store.transition(batch, batch.state, canceled_at=self.api.now)
                with suppress(RequestRejected):  # it has ended meanwhile
                    self.api.cancel_batch(remote.id)
            self.schedule.delay(
                _batch_key(batch), min(self.schedule.poll_seconds, 5.0 if is_unwanted else math.inf)
            )
            return
        if remote.archived_at is not None:
            self._handle_lost_results(batch)
            return
        counts = msgspec.json.encode(remote.counts).decode()
        self.job.store.transition(batch, "ended", ended_at=remote.ended_at, counts=counts)
        self.schedule.delay(_batch_key(batch), 0)
        self.job.report(f"{batch_label(batch)}: ended")

    def _collect(self, batch: Batch) -> None:
        # Results that are late can still come; what is given up is sent, and paid, again.
        age = self.api.now - (batch.ended_at or 0)
        is_last_try = batch.incomplete_downloads >= _MAX_DOWNLOADS - 1 and age > self.job.spec.batch.grace_seconds
        is_lost = self.accept_loss or age > _DAY
        sends_canceled = batch.canceled_at is not None and not self.job.run.is_canceled
        how = {"is_last_try": is_last_try, "accept_loss": is_lost, "resend_canceled": sends_canceled}
        collect_results(self.job, self.api, batch, self.output_format, **how)
        self.schedule.delay(_batch_key(batch), 0)

    def _next_search_delay(self, key: BatchKey) -> float:
        """How long to wait for the next look for a batch: what is there mostly shows soon."""
        attempts = self.search_attempts[key] = self.search_attempts.get(key, 0) + 1
        return min(max(self.job.spec.batch.grace_seconds / 10, 0.2), 0.5 * 2.0 ** min(attempts, 10), 30.0)

    def is_blocked(self, batch: Batch) -> bool:
        """Whether nothing more can be done for a batch in this process."""
        return _batch_key(batch) in self.blocked or (batch.state == "prepared" and CREATE_KEY in self.blocked)

    def run_due_steps(self, batches: list[Batch], stop: Event) -> bool:
        """Do the step of every batch that is due, one create at most; return whether there was any."""
        worked = created = False
        # What was refused is looked into once there is nothing else to send, its smallest part first.
        rejected = [batch for batch in batches if batch.rejection is not None]
        ordered = [batch for batch in batches if batch.rejection is None]
        ordered.sort(key=lambda batch: batch.accepted_before_rejection is not None and batch.requests == 1)
        ordered += sorted(rejected, key=lambda batch: batch.requests)
        for batch in ordered:
            if stop.is_set():
                break
            is_create = batch.state == "prepared"
            if (is_create and created) or self.is_blocked(batch) or not self.schedule.is_due(_schedule_key(batch)):
                continue
            self.run_step(batch)
            worked = True
            created = created or is_create
        return worked

    def poll_all_now(self) -> None:
        """Look at every batch now; what may not be canceled yet is said."""
        self.schedule.due_at.clear()
        for batch in self.job.store.batches(self.job.run):
            if batch.state == "submitting":
                self.job.report(
                    f"{batch_label(batch)}: its rows wait until it is known whether the API accepted it"
                )

    def resolve_blocked(self, batches: list[Batch]) -> None:
        """Once every batch is stuck: reject the requests that are at fault; raise what is left."""
        rejected = [batch for batch in batches if batch.rejection is not None and batch.requests == 1]
        culprits = [batch for batch in rejected if self.accept_loss or is_culprit(self.job, batch)]
        for batch in culprits:
            if _batch_key(batch) in self.retried or self.accept_loss:
                reject_row(self.job, batch)
            else:
                # What all had in common may have passed meanwhile.
                self.retried.add(_batch_key(batch))
                self.job.store.transition(batch, "prepared", rejection=None)
            self.blocked.pop(_batch_key(batch), None)
        if not culprits:
            errors = list(self.blocked.values())
            most_severe = next(error for kind in _BY_SEVERITY for error in errors if isinstance(error, kind))
            same = [str(error) for error in errors if type(error) is type(most_severe)]
            raise type(most_severe)("\n".join(same)) from most_severe.__cause__

    def start(self, *, wait: bool, stop: Event) -> None:
        """Make sure that this is where the run belongs, as soon as the API can be reached."""
        while not stop.is_set():
            try:
                check_workspace(self.job.store.batches(self.job.run), self.api)
                if self.job.run.started_at is None:
                    self.job.run = self.job.store.update_run(self.job.run, started_at=self.api.now)
                self.warn_of_expiry()
                return
            except Unavailable as error:
                if not wait:
                    raise
                delay = self.schedule.backoff(CREATE_KEY, error.retry_after)
                self.job.report(f"{error}; trying again in {delay:.0f} s")
                stop.wait(delay)

    def warn_of_expiry(self) -> None:
        """Say which results will be gone soon, by the API's clock."""
        for batch in self.job.store.batches(self.job.run):
            if batch.state not in ("submitted", "ended"):
                continue
            age = self.api.now - batch.created_at if batch.created_at is not None else 0
            if _WARNING_SECONDS < age < RETENTION_SECONDS:
                left = (RETENTION_SECONDS - age) / _DAY
                self.job.report(
                    f"{batch_label(batch)}: warning: the API will delete its results in {left:.1f} days"
                )


_UNFINISHED_STATES = ("submitting", "submitted", "ended")


_BY_SEVERITY = (ManualDecisionRequired, ResultsLost, CostCapReached, RequestRejected, StateError)


def follow_run(
    context: RunContext,
    api: Api,
    output_format: OutputFormat,
    *,
    poll_seconds: float,
    wait: bool,
    accept_loss: bool,
    stop: Event,
) -> bool:
    """Bring a run to its end; return whether every row has its final outcome.

    Without `wait` it does what can be done now. After `stop` is set it ends at the next safe moment: a create
    under way is not cut off. With `accept_loss` rows whose results are gone end as missing. Raises what no
    waiting mends: AccessError and CanaryFailed at once; ManualDecisionRequired, ResultsLost, CostCapReached,
    RequestRejected, or StateError for a file that cannot be uploaded, once the other batches are done.
    """
    loop = _RunLoop(context, api, output_format, Schedule(poll_seconds), accept_loss, stop, Deadline(context, api))
    context.store.clear_rejections(context.run)
    loop.start(wait=wait, stop=stop)
    while not stop.is_set():
        if loop.deadline.check_passed():
            loop.poll_all_now()
        batches = [batch for batch in context.store.batches(context.run) if batch.state != "collected"]
        # What is not the canary waits for it.
        sendable = [batch for batch in batches if batch.send_mode == "canary"] or batches
        free = [batch for batch in sendable if not loop.is_blocked(batch)]
        if not batches:
            if not prepare_next_round(context, output_format):
                check_no_lost_round(context)
                return True
            context.report("next round: retrying the rows that can still succeed")
        elif not free:
            loop.resolve_blocked(batches)
        elif not loop.run_due_steps(free, stop):
            if not wait:
                return False
            loop.schedule.wait(map(_schedule_key, free), stop, max(loop.deadline.seconds_left(), 0.05))
    return False
