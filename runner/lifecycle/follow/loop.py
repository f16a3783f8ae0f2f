"""The loop of a run: perform the next step of each batch that is due, wait, until all are collected.

New work and work found after a crash take the same path, because `next_step` decides by the state alone.
"""

import math
import time
from collections.abc import Iterable
from dataclasses import replace
from threading import Event

from runner.api.accounts import Accounts
from runner.api.remote_batch import RETENTION_SECONDS
from runner.errors import AccessError, Interrupted, QueueFull, Unavailable
from runner.lifecycle.deliver.collect import plan_download
from runner.lifecycle.follow.blocked import resolve_blocked
from runner.lifecycle.follow.choose_account import block_account, check_accounts, find_account
from runner.lifecycle.follow.following import Following
from runner.lifecycle.follow.next_step import BatchState, RunState, next_step
from runner.lifecycle.follow.perform import perform
from runner.lifecycle.follow.progress import Blocked, Memory, Result, Retry, Wait
from runner.lifecycle.follow.restored import EarlierCreates
from runner.lifecycle.prepare.next_round import prepare_next_round
from runner.lifecycle.send.deadline import Deadline
from runner.lifecycle.send.recovered import check_no_lost_round, find_unconfirmed_batches, may_have_been_sent
from runner.lifecycle.send.warm_up import CacheStep
from runner.notify.alarms import WARNING_SECONDS, Alarms
from runner.results.output_format import OutputFormat
from runner.runs.context import RunContext
from runner.store.lock import read_clock
from runner.store.records import Batch
from runner.store.run_batches import IN_FLIGHT, BatchKey, key_of
from runner.telemetry.trace import trace_step
from runner.workers.run_tasks import WorkerPool
from runner.workers.tasks import Stop, choose_jobs

_DAY = 86_400
# A sleep lasts as much longer as the machine is suspended meanwhile, so none before a deadline is long.
_LONGEST_SLEEP = 10.0
_STOPPED = "stopped while results were read"


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
        cache_step=run.choose_cache_step(batch) if is_prepared else CacheStep.SEND,
    )


def _take_step(run: Following, batch: Batch) -> None:
    """Perform the next step of one batch, and remember its result and when the one after it is due."""
    run.context.store.check_lock()
    run_state = RunState(run.context.run.is_canceled, run.deadline.requires_sync, run.canary_passed)
    step = next_step(_read_batch_state(run, batch), run_state)
    with trace_step(run.batches, batch):
        try:
            _remember(run, batch, perform(step, run, batch))
        except AccessError as error:
            # A create that is refused says nothing about batches that are there already.
            block_account(run, run.memory.find_account(batch), error, only_creates=batch.state == "prepared")
    now = run.batches.get(key_of(batch))
    if now is not None and now.state in IN_FLIGHT:
        run.memory.schedule(now)


def _remember(run: Following, batch: Batch, result: Result) -> None:
    memory, is_prepared = run.memory, batch.state == "prepared"
    name = memory.find_account(batch)
    account, whose = memory.account(name), "" if name is None else f"account {name}: "
    match result:
        case Wait(seconds, wakes_creates):
            memory.of(batch).delay(seconds)
            if is_prepared or wakes_creates:
                memory.creates.delay(0.0 if wakes_creates else seconds)
                account.creates.delay(0.0)
        case Retry(QueueFull() as error):
            run.turn(batch.account).refuse(batch, error)
        case Retry(error, retry_after):
            delay = memory.back_off(batch, retry_after)
            # A create that the API refused is looked for when the next create is due.
            memory.of(batch).wait_at_least(delay)
            run.context.report("retrying", f"{whose}{error}; trying again in {delay:.0f} s", batch)
        case Blocked(error, is_run_wide):
            blocked = memory.creates if is_run_wide else memory.of(batch)
            blocked.blocked_by = error


def _create_order(batch: Batch) -> tuple[bool, int, bool, bool, BatchKey]:
    """Return the key by which prepared batches are sent in order.

    Rejected ones come last, the smallest first: their cause is searched once there is nothing else to send.
    """
    is_rejected = batch.rejection is not None
    is_single_suspect = batch.accepted_before_rejection is not None and batch.requests == 1
    # The others wait for a warm-up, also for one that was rejected before.
    return is_rejected, batch.requests if is_rejected else 0, not batch.is_warmup, is_single_suspect, key_of(batch)


def _find_next_create(run: Following) -> Batch | None:
    """Return the prepared batch to send next, or None if no batch can be sent."""
    prepared = run.batches.in_state("prepared")
    if not run.canary_passed:
        canaries = [one for one in run.batches.in_state("prepared", *IN_FLIGHT) if one.send_mode == "canary"]
        # All other batches wait for the canary.
        prepared = (one for one in canaries or prepared if one.state == "prepared")
    elif warm_ups := [one for one in run.batches.in_group("warm-ups") if one.state == "prepared"]:
        # All other batches wait for these, if they can.
        prepared = (one for one in [*warm_ups, *prepared])
    free = (one for one in prepared if not run.memory.is_blocked(one) and find_account(run, one) is not None)
    found = min(free, key=_create_order, default=None) if run.batches.in_group("suspected") else next(free, None)
    return None if found is None or run.waits_for_cache(found) else found


def _begin_downloads(run: Following, due: Iterable[BatchKey]) -> None:
    """Begin to download the results of several batches, which are then read one after the other."""
    found = (run.batches.get(key) for key in due)
    ended = [one for one in found if one is not None and one.state == "ended" and one.send_mode == "batch"]
    # Missing results are waited for in `perform`.
    fresh = [batch for batch in ended if not batch.incomplete_downloads]
    for batch in fresh if len(fresh) > 1 else ():
        run.downloads.begin(batch, plan_download(run.context, run.accounts.of(batch), batch))


def _take_due_steps(run: Following) -> bool:
    """Take the step of every batch that is due, at most one create; return whether there was any."""
    has_worked, due = False, sorted(run.memory.pop_due())
    _begin_downloads(run, due)
    for key in due:
        batch = run.batches.get(key)
        if run.stop.is_set():
            break
        # The step before may have shown that nothing can be done with its account.
        if batch is not None and batch.state in IN_FLIGHT and not run.memory.is_blocked(batch):
            _take_step(run, batch)
            has_worked = True
    batch = None if run.stop.is_set() else _find_next_create(run)
    chosen = None if batch is None else find_account(run, batch)
    if batch is not None and chosen is not None and chosen.due_at <= time.monotonic():
        _take_step(run, replace(batch, account=chosen.name))
        has_worked = True
    return has_worked


def _poll_all_now(run: Following) -> None:
    """Make every batch due, and report those that cannot be canceled yet."""
    run.memory.make_all_due(run.batches.in_state(*IN_FLIGHT))
    for batch in list(run.batches.in_state("submitting")):
        run.context.report("searching", "its rows wait until it is known whether it was accepted", batch)


def _start(run: Following, *, wait_until: float) -> None:
    """Check that the run belongs to this workspace, as soon as the API can be reached, and record its start.

    Raises Unavailable if it cannot be reached at the time `wait_until`.
    """
    context = run.context
    while not run.stop.is_set():
        try:
            check_accounts(run)
            if context.run.started_at is None and not context.run.needs_consent:
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
    for batch in list(run.batches.in_state("submitted", "ended")):
        if batch.created_at is None:
            continue
        age = run.api.now - batch.created_at
        if WARNING_SECONDS < age < RETENTION_SECONDS:
            left = (RETENTION_SECONDS - age) / _DAY
            run.context.report("warning", f"warning: the API deletes its results in {left:.1f} days", batch)


def _begin_next_round(run: Following) -> bool:
    """Prepare the next round; return False if there is none, and every row has its final outcome."""
    if not prepare_next_round(run.context, run.output_format):
        check_no_lost_round(run.context)
        return False
    run.context.report("round", "retrying the rows that can still succeed")
    return True


def _has_unconfirmed_batches(run: Following) -> bool:
    """Return whether a recovered run would send something that nobody has agreed to."""
    return bool(find_unconfirmed_batches(run.context.store, run.context.run))


def _next_due(run: Following) -> float:
    """Return when the next step is due, by the monotonic clock; infinite if no batch can take one."""
    batch = _find_next_create(run)
    chosen = None if batch is None else find_account(run, batch)
    return min(run.memory.next_due(), math.inf if chosen is None else chosen.due_at)


def _wait_for_due(run: Following, seconds: float) -> None:
    """Report when the next step is due, if that is not at once, and sleep until then, or for `seconds`."""
    due_at, memory = _next_due(run), run.memory
    if (left := due_at - time.monotonic()) > 1.0 and due_at != memory.reported_due:
        memory.reported_due = due_at
        run.pool.close()
        run.context.report("waiting", f"next look in {left:.0f} s", next_look=time.time() + left)
    run.stop.wait(max(0.0, min(due_at - time.monotonic(), seconds)))


def _max_sleep(seconds_left: float) -> float:
    """Return the longest sleep if a deadline is `seconds_left` away, which is infinite without one."""
    return seconds_left if math.isinf(seconds_left) else min(max(seconds_left, 0.05), _LONGEST_SLEEP)


def follow_run(
    context: RunContext,
    accounts: Accounts,
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
    deadline, earlier = Deadline(context, accounts.first), EarlierCreates(is_resumed)
    memory = Memory(poll_seconds, accounts.default, accounts.names[0])
    pool = WorkerPool(choose_jobs(context.jobs, context.run.rows), Stop(stop.is_set, _STOPPED))
    run = Following(context, accounts, output_format, deadline, memory, stop, accept_loss, earlier, pool)
    alarms = Alarms(context, run.read_clock)
    context.store.clear_rejections(context.run)
    _start(run, wait_until=wait_until if wait else 0.0)
    try:
        return _take_all_steps(run, alarms, wait=wait, wait_until=wait_until)
    except Interrupted:
        # Results were read elsewhere: the next command reads them.
        return False
    finally:
        run.downloads.close()
        run.pool.close()
        run.leave_queues()
        alarms.look()


def _take_all_steps(run: Following, alarms: Alarms, *, wait: bool, wait_until: float) -> bool:
    """Take steps as `follow_run` says, and return what it returns."""
    if _has_unconfirmed_batches(run):
        return False
    run.memory.make_all_due(run.batches.in_state(*IN_FLIGHT))
    while not run.stop.is_set():
        alarms.look_if_due()
        if run.deadline.check_passed():
            _poll_all_now(run)
        if not run.batches.count("prepared", *IN_FLIGHT):
            if not _begin_next_round(run):
                return True
            if _has_unconfirmed_batches(run):
                return False
        elif read_clock() >= wait_until:
            return False
        elif math.isinf(_next_due(run)):
            resolve_blocked(run, list(run.batches.in_state("prepared")))
        elif not _take_due_steps(run):
            if not wait:
                return False
            _wait_for_due(run, _max_sleep(min(run.deadline.seconds_left(), wait_until - read_clock())))
    return False
