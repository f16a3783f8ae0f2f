"""Runs, batches and rows, and their state transitions.

Each transition is one transaction. A batch changes its state by compare-and-set, so that a repeated step fails
instead of taking effect twice.
"""

import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.errors import StateError
from runner.requests.pack import Body
from runner.store.database import open_database
from runner.store.event_log import EventLog
from runner.store.key_hashes import KeyHashes
from runner.store.lock import HeldLock, SendGuard, guard_sending
from runner.store.records import Batch, Run, list_columns, read_record
from runner.store.remote_index import RemoteIndex
from runner.store.request_index import AnsweredRequests
from runner.store.row_index import RowIndex
from runner.store.run_batches import BatchKey, RunBatches, key_of
from runner.store.run_folder import RunFolder
from runner.store.run_ids import new_run_id

_NO_DIGESTS: Mapping[int, bytes] = {}


_NO_ADJUSTMENTS: Mapping[int, int] = {}


_RUN_COLUMNS, _BATCH_COLUMNS = list_columns(Run), list_columns(Batch)


class Store:
    """Durable state of all runs of a project."""

    def __init__(self, folder: Path, connection: sqlite3.Connection, lock: HeldLock | None = None) -> None:
        self.path = folder
        self._lock = lock
        self._db = connection
        self._in_memory: dict[int, RunBatches] = {}
        self.row_index = RowIndex(connection)
        self.key_hashes = KeyHashes(connection)
        self.remote_index = RemoteIndex(connection)
        self.event_log = EventLog(connection)

    def check_lock(self) -> None:
        """Raise StateLocked if another process has taken over the lock of this state."""
        if self._lock is not None:
            self._lock.check()

    def guard_sending(self) -> SendGuard:
        """Return a guard for a body that is about to be sent."""
        return guard_sending(self._lock)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all writes inside the block together at its end, or none of them."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self._in_memory.clear()
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def folder(self, run: Run) -> RunFolder:
        """Return the folder of a run."""
        return self.folder_of(run.id)

    def folder_of(self, run_id: str) -> RunFolder:
        """Return the folder of the run with this id."""
        return RunFolder(self.path / "runs" / run_id)

    def runs(self, spec: str | None = None) -> list[Run]:
        """Return all runs, or the runs of the spec with this name, newest first."""
        where, values = ("WHERE spec = ?", (spec,)) if spec is not None else ("", ())
        rows = self._db.execute(f"SELECT {_RUN_COLUMNS} FROM run {where} ORDER BY number DESC", values)
        return [read_record(Run, row) for row in rows]

    def create_run(
        self,
        *,
        spec: str,
        spec_path: str,
        fingerprint: str,
        origin: str,
        run_id: str | None = None,
        is_pilot: bool = False,
    ) -> Run:
        """Record a run in the state `preparing`, and create its empty folder.

        The new id encodes `origin`, a digest. A run with a given `run_id` counts as recovered from the start.
        """
        began = (run_id or new_run_id(origin), spec, spec_path, fingerprint, "preparing", time.time())
        columns = "id, spec, spec_path, fingerprint, state, created_at, recovered_at, is_pilot"
        recovered_at = None if run_id is None else time.time()
        values = (*began, recovered_at, is_pilot)
        self._db.execute(f"INSERT INTO run ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
        run = self.runs(spec)[0]
        self.folder(run).create()
        return run

    def delete_run(self, run: Run) -> None:
        """Delete a run that never sent anything."""
        self._in_memory.pop(run.number, None)
        self._db.execute("DELETE FROM run WHERE number = ?", (run.number,))
        shutil.rmtree(self.folder(run).path, ignore_errors=True)

    def purge_run(self, run: Run, **columns: Any) -> Run:
        """Delete the rows and answers of a run, change columns, and keep its costs and counts of outcomes."""
        with self.transaction():
            run = self.update_run(run, purged_at=run.purged_at or time.time(), failures=None, **columns)
            self._db.execute("DELETE FROM row WHERE run = ?", (run.number,))
            self.event_log.forget_settled(run)
        self.folder(run).purge()
        return run

    def update_run(self, run: Run, **columns: Any) -> Run:
        """Change columns of a run."""
        names = ", ".join(f"{name} = ?" for name in columns)
        self._db.execute(f"UPDATE run SET {names} WHERE number = ?", (*columns.values(), run.number))
        return replace(run, **columns)

    def add_batch(
        self,
        run: Run,
        round: int,
        body: Body,
        digests: Mapping[int, bytes] = _NO_DIGESTS,
        send_mode: str = "batch",
        size_adjustments: Mapping[int, int] = _NO_ADJUSTMENTS,
        *,
        cache: str | None = None,
        is_warmup: bool = False,
    ) -> None:
        """Record a body that is on disk as a prepared batch, inside the caller's transaction.

        `digests` and `size_adjustments` (see `EncodedRequest`) hold the values of new requests, by row. A
        request that is sent again keeps its own. `cache` and `is_warmup` are those of `Batch`.
        """
        rows = [row for row, _, _ in body.requests]
        values = (
            run.number,
            round,
            body.batch,
            "prepared",
            len(rows),
            body.bytes,
            body.sha256,
            send_mode,
            min(rows),
            max(rows),
            cache,
            is_warmup,
        )
        columns = "run, round, batch, state, requests, bytes, sha256, send_mode, first_row, last_row"
        columns += ", cache, is_warmup"
        self._db.execute(f"INSERT INTO batch ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        self._reload(run.number, (round, body.batch))
        self.row_index.add_requests(run, round, body, digests, size_adjustments)

    def count_new_requests(self, run: Run) -> int:
        """Return the number of requests in the first round of a prepared run."""
        return sum(batch.requests for batch in self.batches(run))

    def previous_runs(self, run: Run) -> Iterator[Run]:
        """Return the other runs of the same spec, newest first."""
        return (other for other in self.runs(run.spec) if other.id != run.id)

    def batches(self, run: Run) -> list[Batch]:
        """Return all batches of a run, ordered by round and batch."""
        if run.number in self._in_memory:
            return list(self._in_memory[run.number])
        query = f"SELECT {_BATCH_COLUMNS} FROM batch WHERE run = ? ORDER BY round, batch"
        return [read_record(Batch, row) for row in self._db.execute(query, (run.number,))]

    def run_batches(self, run: Run) -> RunBatches:
        """Return the batches of a run with their totals; they stay in memory while this store holds the lock."""
        if self._lock is None:
            return RunBatches(self.batches(run))
        if run.number not in self._in_memory:
            self._in_memory[run.number] = RunBatches(self.batches(run))
        return self._in_memory[run.number]

    def _reload(self, run: int, key: BatchKey) -> None:
        """Read a batch from the database again, if the batches of its run are in memory."""
        if (known := self._in_memory.get(run)) is not None:
            query = f"SELECT {_BATCH_COLUMNS} FROM batch WHERE run = ? AND round = ? AND batch = ?"
            known.put(read_record(Batch, self._db.execute(query, (run, *key)).fetchone()))

    def transition(self, batch: Batch, state: str, **columns: Any) -> Batch:
        """Change the state and columns of a batch. Raises StateError if it is no longer in `batch.state`."""
        names = "".join(f", {name} = ?" for name in columns)
        cursor = self._db.execute(
            f"UPDATE batch SET state = ?{names} WHERE run = ? AND round = ? AND batch = ? AND state = ?",
            (state, *columns.values(), batch.run, batch.round, batch.batch, batch.state),
        )
        if cursor.rowcount != 1:
            self._in_memory.clear()
            raise StateError(
                f"batch {batch.round}-{batch.batch} is no longer {batch.state}: is another runner using it?"
            )
        if (known := self._in_memory.get(batch.run)) is not None:
            known.put(replace(known.get(key_of(batch)) or batch, state=state, **columns))
        return replace(batch, state=state, **columns)

    def replace_batch(self, batch: Batch, bodies: Iterable[Body]) -> None:
        """Replace a prepared batch by bodies with the same rows, inside the caller's transaction."""
        run = next(run for run in self.runs() if run.number == batch.run)
        for body in bodies:
            self.add_batch(run, batch.round, body, cache=batch.cache)
            self._db.execute(
                "UPDATE batch SET accepted_before_rejection = ?, search_started_at = ?, send_mode = ?,"
                " doubted_cost = ? WHERE run = ? AND round = ? AND batch = ?",
                (
                    batch.accepted_before_rejection,
                    batch.search_started_at,
                    batch.send_mode,
                    batch.doubted_cost * len(body.requests) / batch.requests,
                    batch.run,
                    batch.round,
                    body.batch,
                ),
            )
            self._reload(batch.run, (batch.round, body.batch))
        self.remove_batch(batch)

    def remove_batch(self, batch: Batch) -> None:
        """Delete a prepared batch whose rows are in others, inside the caller's transaction."""
        self._db.execute(
            "DELETE FROM batch WHERE run = ? AND round = ? AND batch = ? AND state = 'prepared'",
            (batch.run, batch.round, batch.batch),
        )
        if (known := self._in_memory.get(batch.run)) is not None:
            known.remove(key_of(batch))

    def replace_batches(self, run: Run, bodies: Iterable[Body]) -> None:
        """Replace all batches of a first round by bodies, inside the caller's transaction."""
        self._in_memory.pop(run.number, None)
        self._db.execute("DELETE FROM batch WHERE run = ?", (run.number,))
        for body in bodies:
            self.add_batch(run, 1, body)

    def clear_rejections(self, run: Run) -> None:
        """Clear the rejections of prepared batches, so that they are sent again."""
        self._in_memory.pop(run.number, None)
        self._db.execute("UPDATE batch SET rejection = NULL WHERE run = ? AND state = 'prepared'", (run.number,))

    def collect_batch(
        self, batch: Batch, outcomes: Iterable[tuple[int, str, int, int | None, int | None]], **columns: Any
    ) -> Batch:
        """Record (row, outcome, retry, offset, length) of every row, and mark the batch as collected.

        `retry` is 0 for a final outcome, 1 if the row is sent again, and 2 if that holds whatever its attempts.
        """
        with self.transaction():
            self.row_index.record_outcomes(batch, outcomes)
            return self.transition(batch, "collected", **columns)

    def answered_requests(self, run: Run) -> AnsweredRequests:
        """Return the answered requests of all runs but this one, which may belong to another store."""
        is_ours = any(other.id == run.id for other in self.runs())
        return AnsweredRequests(self._db, run.number if is_ours else None)


@contextmanager
def open_store(folder: Path, *, lock: bool = True) -> Iterator[Store]:
    """Open a state folder, creating it if necessary; `lock` keeps other runners out until it is closed.

    Raises StateLocked, and StateError if the database cannot be used.
    """
    with open_database(folder, lock=lock) as (connection, held):
        yield Store(folder, connection, held)
