"""The batches of a run in memory: always as the database has them, with the same totals."""

import random
import sqlite3
from pathlib import Path

import pytest

from runner.requests.pack import Body
from runner.store.records import Batch
from runner.store.run_batches import RunBatches
from runner.store.store import Store, open_store

STATES = ("prepared", "submitting", "submitted", "ended", "collected")
USAGE = '{"input_tokens":3,"output_tokens":5,"unreadable":{"usage":1}}'


def facts(batches: RunBatches) -> dict[str, object]:
    """All that can be asked of the batches of a run."""
    return {
        "batches": list(batches),
        "states": batches.count_by_state(),
        "requests": {state: batches.count_requests(state) for state in STATES},
        "prepared": list(batches.in_state("prepared")),
        "groups": {name: set(batches.in_group(name)) for name in ("unreserved", "suspected")},
        "committed": batches.committed_cost,
        "round": batches.last_round,
        "usage": batches.totals.usage,
        "cost": batches.totals.cost and round(batches.totals.cost, 9),
        "seconds": batches.totals.seconds,
        "accepted": batches.totals.accepted,
    }


def random_change(chance: random.Random, batch: Batch) -> dict[str, object]:
    """Columns for a random next state of a batch, forwards or back."""
    state = chance.choice(STATES)
    is_sent, is_collected = state in STATES[2:], state == "collected"
    return {
        "state": state,
        "batch_id": f"msgbatch_{batch.round}_{batch.batch}" if is_sent else None,
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
    store.add_batch(run, 1, Body(number, Path(), [(number, 0, 1)], 10, "0" * 64))


@pytest.mark.parametrize("seed", range(20))
def test_memory_agrees_with_the_database(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    with open_store(tmp_path / ".runner") as store:
        run = store.create_run(spec="job", spec_path="job.yaml", fingerprint="", origin="0" * 64)
        known = store.run_batches(run)
        for number in chance.sample(range(1, 30), 12):
            add_batch(store, number)
        for _ in range(60):
            batch = chance.choice(store.batches(run))
            columns = random_change(chance, batch)
            store.transition(batch, str(columns.pop("state")), **columns)
        assert store.run_batches(run) is known
    with open_store(tmp_path / ".runner", lock=False) as store:
        assert facts(known) == facts(store.run_batches(run))


def test_undone_transaction_is_forgotten_in_memory(tmp_path: Path) -> None:
    with open_store(tmp_path / ".runner") as store:
        run = store.create_run(spec="job", spec_path="job.yaml", fingerprint="", origin="0" * 64)
        assert len(store.run_batches(run)) == 0
        with pytest.raises(sqlite3.IntegrityError), store.transaction():
            add_batch(store, 1)
            add_batch(store, 1)
        assert len(store.run_batches(run)) == 0
