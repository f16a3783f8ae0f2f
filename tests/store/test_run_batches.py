"""The batches of a run in memory: always as the database has them, with the same totals."""

import json
import random
import sqlite3
from collections.abc import Sequence

import pytest

from runner.errors import StateError
from runner.requests.pack import Body
from runner.store.open_store import open_store
from runner.store.place import StatePlace
from runner.store.records import Batch
from runner.store.run_batches import RunBatches
from runner.store.store import Store

STATES = ("prepared", "submitting", "submitted", "ended", "collected")
USAGE = '{"input_tokens":3,"output_tokens":5,"unreadable":{"usage":1}}'


def facts(batches: RunBatches) -> dict[str, object]:
    """All that can be asked of the batches of a run."""
    usage = batches.totals.usage
    return {
        "batches": list(batches),
        "states": batches.count_by_state(),
        "requests": {state: batches.count_requests(state) for state in STATES},
        "prepared": list(batches.in_state("prepared")),
        "groups": {name: set(batches.in_group(name)) for name in ("unreserved", "suspected")},
        "committed": batches.committed_cost,
        "round": batches.last_round,
        "usage": (usage.input_tokens, usage.output_tokens, usage.unreadable.get("usage", 0)),
        "cost": batches.totals.cost,
        "seconds": batches.totals.seconds,
        "accepted": batches.totals.accepted,
    }


def expected(batches: Sequence[Batch]) -> dict[str, object]:
    """The same facts, each from the list of batches on its own."""
    collected = [batch for batch in batches if batch.state == "collected"]
    usages = [json.loads(batch.usage) for batch in batches]
    sent = [batch for batch in batches if batch.state != "prepared"]
    costs = [batch.reserved_cost or 0 if batch.cost is None else batch.cost for batch in sent]
    priced = [batch.cost for batch in collected if batch.cost is not None]
    states = {state: [batch for batch in batches if batch.state == state] for state in reversed(STATES)}
    in_flight = [batch for state in STATES[1:4] for batch in states[state]]
    return {
        "batches": batches,
        "states": {state: len(found) for state, found in states.items() if found},
        "requests": {state: sum(batch.requests for batch in states[state]) for state in STATES},
        "prepared": states["prepared"],
        "groups": {
            "unreserved": {one for one in in_flight if one.reserved_cost is None and one.cost is None},
            "suspected": {one for one in states["prepared"] if one.accepted_before_rejection is not None},
        },
        "committed": pytest.approx(sum(costs) + sum(batch.doubted_cost for batch in batches), abs=1e-9),
        "round": max(batch.round for batch in batches),
        "usage": (
            sum(one.get("input_tokens", 0) for one in usages),
            sum(one.get("output_tokens", 0) for one in usages),
            sum(one.get("unreadable", {}).get("usage", 0) for one in usages),
        ),
        "cost": pytest.approx(sum(priced)) if priced else None,
        "seconds": sorted(one.ended_at - one.created_at for one in batches if one.ended_at and one.created_at),
        "accepted": sum(batch.batch_id is not None for batch in batches),
    }


def random_change(chance: random.Random, batch: Batch) -> dict[str, object]:
    """Columns for a random next state of a batch, forwards or back."""
    state = chance.choice(STATES)
    is_sent, is_collected = state in STATES[2:], state == "collected"
    return {
        "state": state,
        "batch_id": f"msgbatch_{batch.run}_{batch.round}_{batch.batch}" if is_sent else None,
        "created_at": chance.uniform(1, 9) if is_sent else None,
        "ended_at": chance.uniform(10, 20) if state in STATES[3:] else None,
        "reserved_cost": chance.choice([None, 0.25, 0.1]),
        "doubted_cost": chance.choice([0.0, 0.0, 0.3]),
        "cost": chance.choice([None, 0.7]) if is_collected else None,
        "usage": USAGE if is_collected else "{}",
        "accepted_before_rejection": chance.choice([None, None, 2]),
    }


def add_batch(store: Store, number: int) -> None:
    [run] = store.runs()
    rows = [(row, 0, 1) for row in range(10 * number, 10 * number + 1 + number % 3)]
    store.add_batch(run, 1, Body(number, store.folder(run).body(1, number), rows, 10, "0" * 64))


def split_batch(store: Store, batch: Batch) -> None:
    """Replace a prepared batch by one for its first row, and one for the others."""
    number = max(one.batch for one in store.batches(store.runs()[0]))
    rows = [(row, 0, 1) for row in range(batch.first_row, batch.last_row + 1)]
    parts = [rows[:1], rows[1:]]
    with store.transaction():
        folder = store.folder(store.runs()[0])
        bodies = (
            Body(number + index, folder.body(1, number + index), part, 10, "0" * 64)
            for index, part in enumerate(parts, 1)
        )
        store.replace_batch(batch, bodies)


@pytest.mark.parametrize("seed", range(20))
def test_memory_agrees_with_the_database(place: StatePlace, seed: int) -> None:
    chance = random.Random(seed)
    with open_store(place) as store:
        store.hold("job")
        run = store.create_run(spec="job", spec_path="job.yaml", fingerprint="", origin="0" * 64)
        known = store.run_batches(run)
        for number in chance.sample(range(1, 30), 12):
            add_batch(store, number)
        for _ in range(60):
            batch = chance.choice(store.batches(run))
            columns = random_change(chance, batch)
            now = store.transition(batch, str(columns.pop("state")), **columns)
            if now.state == "prepared" and now.requests > 1:
                split_batch(store, now)
        assert store.run_batches(run) is known
    with open_store(place, lock=False) as store:
        assert facts(known) == expected(store.batches(run))


def test_undone_transaction_is_forgotten_in_memory(place: StatePlace) -> None:
    with open_store(place) as store:
        store.hold("job")
        run = store.create_run(spec="job", spec_path="job.yaml", fingerprint="", origin="0" * 64)
        assert len(store.run_batches(run)) == 0
        with pytest.raises((sqlite3.IntegrityError, StateError)), store.transaction():
            add_batch(store, 1)
            add_batch(store, 1)
        assert len(store.run_batches(run)) == 0
