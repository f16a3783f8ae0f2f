"""Perform the steps that send a prepared batch, or find that it was sent before."""

from dataclasses import replace

from runner.errors import AccessError, RequestRejected
from runner.lifecycle.follow.following import Following
from runner.lifecycle.follow.progress import Blocked, Result, Wait
from runner.lifecycle.follow.remote_batches import check_workspaces
from runner.lifecycle.follow.restored import find_restored_create
from runner.lifecycle.send.cost_cap import reserve_cost
from runner.lifecycle.send.recovered import find_earlier_create, may_have_been_sent
from runner.lifecycle.send.refusal import record_rejection, rejected_batch_error
from runner.lifecycle.send.submit import submit_batch
from runner.lifecycle.send.synchronous import send_synchronously
from runner.store.records import Batch
from runner.store.run_batches import IN_FLIGHT

# Halving 100,000 requests down to one takes 17 steps of two creates.
_MAX_REJECTIONS = 40


def find_created(run: Following, batch: Batch) -> Result:
    """Look for a prepared batch that may have been sent before, and go on with what was found."""
    try:
        if may_have_been_sent(run.context, batch):
            found = find_earlier_create(run.context, run.accounts, batch)
            # What the mark says was not compared when the run began.
            check_workspaces([found], run.accounts)
            return _after_create(run, found)
        found = find_restored_create(run.context, run.accounts, batch, run.earlier)
    except AccessError as error:
        # While one account cannot be searched, nothing is sent with another: it could be paid twice.
        if not run.accounts.are_several:
            raise
        return Blocked(error, is_run_wide=True)
    return Wait() if found.state == "prepared" else _after_create(run, found)


def create_batch(run: Following, batch: Batch) -> Result:
    """Send a prepared batch, if its cost fits below the cap, and it is its turn in the queue of the API."""
    turn, reserved = run.turn(batch.account), _reserve(run, batch, "batch")
    if reserved is None:
        turn.leave()
        return _wait_for_budget(run)
    if not turn.may_create(reserved):
        return Wait()
    try:
        submitted = submit_batch(run.context, run.accounts, replace(reserved, account=batch.account))
    except RequestRejected as error:
        return _after_rejection(run, reserved, error)
    if submitted.state == "submitted":
        turn.accept()
    if not run.batches.count("prepared"):
        # It may wait for the queue of another account too.
        run.leave_queues()
    return _after_create(run, submitted)


def _reserve(run: Following, batch: Batch, send_mode: str) -> Batch | None:
    in_flight = run.batches.in_state(*IN_FLIGHT)
    can_wait = any(not run.memory.is_blocked(one) for one in in_flight)
    return reserve_cost(run.context, batch, send_mode, can_wait=can_wait)


def _wait_for_budget(run: Following) -> Wait:
    return Wait(min(1.0, run.memory.poll_seconds))


def _after_create(run: Following, batch: Batch) -> Wait:
    run.rejections = 0
    if batch.state == "submitted":
        if batch.is_warmup and run.batches.count("prepared"):
            run.context.report("cache", "the other batches wait until it has ended, to read its cache", batch)
        return Wait(run.memory.poll_seconds, wakes_creates=True)
    return Wait(run.memory.of(batch).plan_search(run.context.spec.batch.grace_seconds), wakes_creates=True)


def _after_rejection(run: Following, batch: Batch, error: RequestRejected) -> Result:
    # A single request that was rejected before says nothing new.
    run.rejections += batch.accepted_before_rejection is None or batch.requests > 1
    batch = record_rejection(run.context, batch, error)
    if run.rejections >= _MAX_REJECTIONS:
        return Blocked(rejected_batch_error(run.context, batch), is_run_wide=True)
    return Wait()


def send_requests(run: Following, batch: Batch) -> Result:
    """Send the requests of a batch synchronously, if their cost fits below the cap."""
    if batch.state == "prepared":
        send_mode = "sync" if batch.send_mode == "batch" else batch.send_mode
        reserved = _reserve(run, batch, send_mode)
        if reserved is None:
            return _wait_for_budget(run)
        batch = reserved
    send_synchronously(run.context, run.api, batch, stop=run.stop)
    return Wait(wakes_creates=True)
