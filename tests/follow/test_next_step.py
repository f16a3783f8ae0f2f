"""Each row of the table of steps decides for the states that it is meant for."""

import re
from itertools import product

import pytest

from runner.lifecycle.follow.next_step import STEPS, BatchState, RunState, Step, next_step
from runner.lifecycle.follow.perform import PERFORMERS
from runner.lifecycle.send.synchronous import MAX_SYNC_BATCH
from runner.lifecycle.send.warm_up import CacheStep
from tests.support import ROOT

MANY = MAX_SYNC_BATCH + 1
CASES = {
    "earlier create": (
        BatchState("prepared", 1, may_have_been_sent=True),
        RunState(is_canceled=True),
        Step.FIND_EARLIER_CREATE,
    ),
    "canceled run": (
        BatchState("prepared", 2, is_rejected=True, needs_upload=True),
        RunState(is_canceled=True),
        Step.END_AS_CANCELED,
    ),
    "rejected requests": (BatchState("prepared", 2, is_rejected=True), RunState(), Step.SPLIT_REJECTED),
    "rejected request": (
        BatchState("prepared", 1, is_rejected=True),
        RunState(canary_passed=False),
        Step.REPORT_REJECTED,
    ),
    "canary not passed": (
        BatchState("prepared", 1, needs_upload=True),
        RunState(canary_passed=False),
        Step.CHECK_CANARY,
    ),
    "files not uploaded": (
        BatchState("prepared", MANY, needs_upload=True),
        RunState(requires_sync=True),
        Step.UPLOAD_FILES,
    ),
    "too large for sync": (BatchState("prepared", MANY), RunState(requires_sync=True), Step.SPLIT_FOR_SYNC),
    "sync required": (
        BatchState("prepared", MAX_SYNC_BATCH),
        RunState(requires_sync=True),
        Step.SEND_SYNC,
    ),
    "cold cache": (
        BatchState("prepared", MANY, cache_step=CacheStep.WARM),
        RunState(),
        Step.WARM_CACHE,
    ),
    "cache given up": (
        BatchState("prepared", MANY, cache_step=CacheStep.REMOVE_MARKS),
        RunState(),
        Step.REMOVE_MARKS,
    ),
    "ready to create": (BatchState("prepared", MANY), RunState(), Step.CREATE),
    "create without an answer": (BatchState("submitting", 1), RunState(is_canceled=True), Step.RECONCILE),
    "submitted synchronously": (
        BatchState("submitted", 1, send_mode="sync"),
        RunState(is_canceled=True),
        Step.SEND_SYNC,
    ),
    "submitted": (BatchState("submitted", 1), RunState(requires_sync=True), Step.POLL),
    "ended": (BatchState("ended", 1), RunState(is_canceled=True), Step.COLLECT),
}
"""A batch, its run and its next step for each row of the table, in the order of the table."""


def deciding_row(batch: BatchState, run: RunState) -> int:
    """Return the number of the first row of the table that fits."""
    return next(
        number for number, (state, fits, _) in enumerate(STEPS) if state == batch.state and fits(batch, run)
    )


@pytest.mark.parametrize("name", CASES)
def test_row_decides_the_step(name: str) -> None:
    batch, run, step = CASES[name]
    assert (deciding_row(batch, run), next_step(batch, run)) == (list(CASES).index(name), step)


def test_every_row_of_the_table_has_a_case() -> None:
    assert [step for *_, step in CASES.values()] == [step for *_, step in STEPS]


@pytest.mark.parametrize(
    ("batch", "run", "step"),
    [
        (BatchState("prepared", 1, send_mode="canary"), RunState(canary_passed=False), Step.SEND_SYNC),
        (BatchState("prepared", MANY, send_mode="sync"), RunState(), Step.SEND_SYNC),
        (BatchState("prepared", MANY, sync_has_begun=True), RunState(requires_sync=True), Step.SEND_SYNC),
        (BatchState("prepared", MANY, sync_has_begun=True), RunState(is_canceled=True), Step.SEND_SYNC),
        (BatchState("prepared", 1, send_mode="sync", may_have_been_sent=True), RunState(), Step.SEND_SYNC),
        (BatchState("prepared", 1, sync_has_begun=True), RunState(), Step.SEND_SYNC),
    ],
    ids=["canary", "sync part", "begun and too large", "begun and canceled", "sync sent earlier", "begun"],
)
def test_synchronous_batch_stays_synchronous(batch: BatchState, run: RunState, step: Step) -> None:
    assert next_step(batch, run) == step


def test_every_step_has_a_performer() -> None:
    assert set(PERFORMERS) == set(Step)


def test_states_are_those_of_the_store_but_collected() -> None:
    schema = (ROOT / "runner" / "store" / "migrations" / "schema.sql").read_text("utf-8")
    [states] = re.findall(r"CHECK \(state IN \(('prepared', .*?)\)\)", schema)
    assert {f"'{state}'" for state, _, _ in STEPS} == {*states.split(", ")} - {"'collected'"}


@pytest.mark.parametrize("state", dict.fromkeys(state for state, _, _ in STEPS))
def test_last_row_of_a_state_always_fits(state: str) -> None:
    last_fits = [fits for row_state, fits, _ in STEPS if row_state == state][-1]
    flags = (False, True)
    batches = product((1, MANY), ("batch", "sync", "canary"), flags, flags, flags, flags)
    for batch, run in product(batches, product(flags, flags, flags)):
        assert last_fits(BatchState(state, *batch), RunState(*run))
