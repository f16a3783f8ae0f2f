"""The loop of a run: perform the next step of each batch that is due, wait, until all are collected.

New work and work found after a crash take the same path, because `next_step` decides by the state alone.
"""

import math
import time
from threading import Event

from runner.api.client import Api
from runner.api.remote_batch import RETENTION_SECONDS
from runner.errors import Unavailable
from runner.lifecycle.follow.blocked import resolve_blocked
from runner.lifecycle.follow.next_step import BatchState, RunState, next_step
from runner.lifecycle.follow.perform import Following, perform
from runner.lifecycle.follow.progress import Blocked, Memory, Result, Retry, Wait
from runner.lifecycle.follow.remote_batches import check_workspace
from runner.lifecycle.follow.restored import EarlierCreates
from runner.lifecycle.prepare.next_round import prepare_next_round
from runner.lifecycle.send.deadline import Deadline
from runner.lifecycle.send.recovered import check_no_lost_round, may_have_been_sent
from runner.results.output_format import OutputFormat
from runner.runs.context import RunContext
from runner.store.lock import read_clock
from runner.store.records import Batch

_DAY = 86_400
_WARNING_SECONDS = 21 * _DAY
# A sleep lasts as much longer as the machine is suspended meanwhile, so none before a deadline is long.
_LONGEST_SLEEP = 10.0


def _read_batch_state(run: Following, batch: Batch) -> BatchState:
    """Read the facts that decide the next step of a batch."""
    context, is_prepared = run.context, batch.state == "prepared"
    journal = context.store.folder(context.run).sync_journal(batch.round, batch.batch)
    uploads_files = any(block.upload for block in context.spec.prompt.blocks())
    return BatchState(
        state=batch.state,
        requests=batch.requests,
        send_mode=batch.send_mode,
        may_have_been_sent=is_prepared and (run.earlier.is_to_check(batch) or may_have_been_sent(context, batch)),
        sync_has_begun=is_prepared and journal.exists(),
        is_rejected=batch.rejection is not None,
        needs_upload=uploads_files and not run.memory.of(batch).has_uploaded,
    )


def _take_step(run: Following, batch: Batch) -> None:
    """Perform the next step of one batch, and remember its result."""
    run_state = RunState(run.context.run.is_canceled, run.deadline.requires_sync, run.canary_passed)
    step = next_step(_read_batch_state(run, batch), run_state)
    _remember(run, batch, perform(step, run, batch))


def _remember(run: Following, batch: Batch, result: Result) -> None:
    memory, is_create = run.memory, batch.state == "prepared"
    match result:
        case Wait(seconds, wakes_creates):
            memory.of(batch).delay(seconds)
            if is_create or wakes_creates:
                memory.creates.delay(0.0 if wakes_creates else seconds)
        case Retry(error, retry_after):
            delay = memory.back_off(batch, retry_after)
            # A create that the API refused is looked for when the next create is due.
            memory.of(batch).wait_at_least(delay)
            run.context.report("retrying", f"{error}; trying again in {delay:.0f} s", batch)
        case Blocked(error, is_run_wide):
            blocked = memory.creates if is_run_wide else memory.of(batch)
            blocked.blocked_by = error


def _in_order(batches: list[Batch]) -> list[Batch]:
    """Return batches in the order of their steps.

    Rejected ones come last, the smallest first: their cause is searched once there is nothing else to send.
    """
    rejected = [batch for batch in batches if batch.rejection is not None]
    others = [batch for batch in batches if batch.rejection is None]
    others.sort(key=lambda batch: batch.accepted_before_rejection is not None and batch.requests == 1)
    return others + sorted(rejected, key=lambda batch: batch.requests)


def _take_due_steps(run: Following, batches: list[Batch]) -> bool:
    """Take the step of every batch that is due, at most one create; return whether there was any."""
    has_worked = has_created = False
    for batch in _in_order(batches):
        if run.stop.is_set():
            break
        is_create = batch.state == "prepared"
        if (is_create and has_created) or run.memory.is_blocked(batch) or not run.memory.is_due(batch):
            continue
        run.context.store.check_lock()
        _take_step(run, batch)
        has_worked, has_created = True, has_created or is_create
    return has_worked


def _poll_all_now(run: Following) -> None:
    """Make every batch due, and report those that cannot be canceled yet."""
    run.memory.make_all_due()
    for batch in run.context.store.batches(run.context.run):
        if batch.state == "submitting":
            run.context.report("searching", "its rows wait until it is known whether it was accepted", batch)


def _start(run: Following, *, wait_until: float) -> None:
    """Check that the run belongs to this workspace, as soon as the API can be reached, and record its start.

    Raises Unavailable if it cannot be reached at the time `wait_until`.
    """
    context = run.context
    while not run.stop.is_set():
        try:
            check_workspace(context.store.batches(context.run), run.api)
            if context.run.started_at is None:
                context.run = context.store.update_run(context.run, started_at=run.api.now)
            _warn_of_deletion(run)
            return
        except Unavailable as error:
            if read_clock() >= wait_until:
                raise
            delay = run.memory.creates.back_off(min(run.memory.poll_seconds, 1.0), error.retry_after)
            context.report("retrying", f"{error}; trying again in {delay:.0f} s")
            run.stop.wait(min(delay, max(wait_until - read_clock(), 0.0)))


def _warn_of_deletion(run: Following) -> None:
    """Report the batches whose results the API deletes soon, by its own clock."""
    for batch in run.context.store.batches(run.context.run):
        if batch.state not in ("submitted", "ended") or batch.created_at is None:
            continue
        age = run.api.now - batch.created_at
        if _WARNING_SECONDS < age < RETENTION_SECONDS:
            left = (RETENTION_SECONDS - age) / _DAY
            run.context.report("warning", f"warning: the API deletes its results in {left:.1f} days", batch)


def _unfinished(run: Following) -> tuple[list[Batch], list[Batch]]:
    """Return the batches that are not collected, and those of them that can take a step."""
    batches = [batch for batch in run.context.store.batches(run.context.run) if batch.state != "collected"]
    # All other batches wait for the canary.
    first = [batch for batch in batches if batch.send_mode == "canary"] or batches
    return batches, [batch for batch in first if not run.memory.is_blocked(batch)]


def _begin_next_round(run: Following) -> bool:
    """Prepare the next round; return False if there is none, and every row has its final outcome."""
    if not prepare_next_round(run.context, run.output_format):
        check_no_lost_round(run.context)
        return False
    run.context.report("round", "retrying the rows that can still succeed")
    return True


def _report_waiting(run: Following, batches: list[Batch]) -> None:
    """Report when the next of these batches is looked at, if that is not at once."""
    due_at, memory = run.memory.next_due(batches), run.memory
    if (seconds := due_at - time.monotonic()) > 1.0 and due_at != memory.reported_due:
        memory.reported_due = due_at
        run.context.report("waiting", f"next look in {seconds:.0f} s", next_look=time.time() + seconds)


def _max_sleep(seconds_left: float) -> float:
    """Return the longest sleep if a deadline is `seconds_left` away, which is infinite without one."""
    return seconds_left if math.isinf(seconds_left) else min(max(seconds_left, 0.05), _LONGEST_SLEEP)


def follow_run(
    context: RunContext,
    api: Api,
    output_format: OutputFormat,
    *,
    poll_seconds: float,
    wait: bool,
    wait_until: float = math.inf,
    accept_loss: bool,
    is_resumed: bool,
    stop: Event,
) -> bool:
    """Take the steps of a run until every row has its final outcome; return whether that is so.

    Without `wait` it does what can be done now, and it does nothing more from the time `wait_until` on, which
    `read_clock` measures. After `stop` is set it ends at the next safe moment: a create in
    progress is not cut off. `is_resumed` means that an earlier process began the run. With `accept_loss` rows
    whose results are lost end as missing. Raises AccessError and CanaryFailed at once, and RetriesStopped instead
    of sending another round. Raises ManualDecisionRequired, ResultsLost, CostCapReached or RequestRejected, or
    StateError for a file that cannot be uploaded, once the other batches are done.
    """
    deadline = Deadline(context, api)
    earlier = EarlierCreates(is_resumed)
    run = Following(context, api, output_format, deadline, Memory(poll_seconds), stop, accept_loss, earlier)
    context.store.clear_rejections(context.run)
    _start(run, wait_until=wait_until if wait else 0.0)
    while not stop.is_set():
        if deadline.check_passed():
            _poll_all_now(run)
        batches, free = _unfinished(run)
        if not batches:
            if not _begin_next_round(run):
                return True
        elif read_clock() >= wait_until:
            return False
        elif not free:
            resolve_blocked(run, batches)
        elif not _take_due_steps(run, free):
            if not wait:
                return False
            _report_waiting(run, free)
            run.memory.sleep(free, stop, _max_sleep(min(deadline.seconds_left(), wait_until - read_clock())))
    return False
