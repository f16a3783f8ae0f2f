"""Runs with their batches and rows, and their state transitions.

Each transition is one transaction. A batch changes its state by compare-and-set, so that a repeated step fails
instead of taking effect twice.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.errors import StateError
from runner.files.object_store import ObjectStore
from runner.requests.pack import Body
from runner.store.api_queue import ApiQueue
from runner.store.connection import Connection
from runner.store.event_log import EventLog
from runner.store.index.answer_index import AnsweredRequests, forget_answers
from runner.store.index.batch_index import Outcome, RunIndexes
from runner.store.index.row_finder import RowFinder
from runner.store.index.row_index import RowIndex
from runner.store.lock import HeldLock
from runner.store.outcome_counts import OutcomeCounts
from runner.store.records import Batch, Run, list_columns, read_record
from runner.store.remote_index import RemoteIndex
from runner.store.run_batches import BatchKey, RunBatches, key_of
from runner.store.run_store import RunStore
from runner.store.shared.lease import Leases
from runner.store.temporary.key_hashes import KeyHashes

_NO_DIGESTS: Mapping[int, bytes] = {}
_NO_ADJUSTMENTS: Mapping[int, int] = {}
_COLUMNS = list_columns(Batch)


class Store(RunStore):
    """Durable state of all runs of a project."""

    def __init__(
        self,
        folder: Path,
        connection: Connection,
        lock: HeldLock | Leases | None = None,
        objects: ObjectStore | None = None,
    ) -> None:
        super().__init__(folder, connection, lock, objects)
        self._in_memory: dict[int, RunBatches] = {}
        self.row_index = RowIndex(self._batches, self._find_indexes)
        self.counts = OutcomeCounts(connection)
        self.key_hashes = KeyHashes()
        self.remote_index = RemoteIndex(connection)
        self.event_log = EventLog(connection)
        self.api_queue = ApiQueue(connection)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all writes inside the block together at its end, or none of them."""
        try:
            with super().transaction():
                yield
        except BaseException:
            self._in_memory.clear()
            raise

    def _find_indexes(self, number: int) -> RunIndexes:
        query = "SELECT id, unsent_index, duplicate_index FROM run WHERE number = ?"
        found = self._db.execute(query, (number,)).fetchone()
        if found is None:
            raise StateError("another runner has discarded a run meanwhile: run the command again")
        run_id, *indexes = found
        return RunIndexes(self.folder_of(run_id), *indexes)

    def delete_run(self, run: Run) -> None:
        """Delete a run that never sent anything."""
        # A run without its files is discarded by the next one; files without their run would stay.
        self.folder(run).delete()
        self._in_memory.pop(run.number, None)
        self._db.execute("DELETE FROM run WHERE number = ?", (run.number,))

    def purge_run(self, run: Run, **columns: Any) -> Run:
        """Delete the rows and answers of a run, change columns, and keep its costs and counts of outcomes."""
        with self.transaction():
            run = self.update_run(run, purged_at=run.purged_at or time.time(), failures=None, **columns)
            run = self.update_run(run, unsent_index=None, duplicate_index=None)
            names = "request_index = NULL, result_index = NULL"
            self._db.execute(f"UPDATE batch SET {names} WHERE run = ?", (run.number,))
            self._in_memory.pop(run.number, None)
            self.event_log.forget_settled(run)
        self.folder(run).purge()
        forget_answers(self.path, run)
        return run

    def add_batch(
        self,
        run: Run,
        round: int,
        body: Body,
        digests: Mapping[int, bytes] = _NO_DIGESTS,
        send_mode: str = "batch",
        size_adjustments: Mapping[int, int] = _NO_ADJUSTMENTS,
        *,
        earlier: RowFinder | None = None,
        cache: str | None = None,
        is_warmup: bool = False,
    ) -> None:
        """Record a body that is on disk as a prepared batch, inside the caller's transaction.

        `digests` and `size_adjustments` (see `EncodedRequest`) hold the values of new requests, by row. A request
        that is sent again keeps its own, and loses its outcome: `earlier` finds both. `cache` and `is_warmup` are
        those of `Batch`.
        """
        if self.shared is not None:
            self.shared.note_written(body.path)
        rows = sorted(row for row, _, _ in body.requests)
        if earlier is not None:
            digests, size_adjustments = self._take_back(run, rows, earlier)
        index = self.row_index.write_requests(run.number, round, body, digests, size_adjustments)
        values = (
            run.number,
            round,
            body.batch,
            "prepared",
            len(rows),
            body.bytes,
            body.sha256,
            send_mode,
            rows[0],
            rows[-1],
            cache,
            is_warmup,
            index,
        )
        columns = "run, round, batch, state, requests, bytes, sha256, send_mode, first_row, last_row"
        columns += ", cache, is_warmup, request_index"
        self._db.execute(f"INSERT INTO batch ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        self._reload(run.number, (round, body.batch))

    def _take_back(
        self, run: Run, rows: Sequence[int], earlier: RowFinder
    ) -> tuple[dict[int, bytes], dict[int, int]]:
        """Return the digests and size adjustments of rows that are sent again, and uncount their outcomes."""
        found = {row: attempt for row in rows if (attempt := earlier.find(row)) is not None}
        outcomes = {row: earlier.outcome_of(attempt) for row, attempt in found.items()}
        self.counts.add(run.number, {name: -count for name, count in self._count(run.number, outcomes).items()})
        requests = {row: attempt.request for row, attempt in found.items()}
        return (
            {row: request[5] for row, request in requests.items()},
            {row: request[4] for row, request in requests.items()},
        )

    def _count(self, run: int, outcomes: Mapping[int, str | None]) -> dict[str, int]:
        """Return the number of rows per outcome, with the later rows that have the same requests."""
        counts: dict[str, int] = {}
        duplicates = self.row_index.count_duplicates(run, list(outcomes))
        for row, name in outcomes.items():
            if name is not None:
                counts[name] = counts.get(name, 0) + 1 + duplicates.get(row, 0)
        return counts

    def count_new_requests(self, run: Run) -> int:
        """Return the number of requests in the first round of a prepared run."""
        return sum(batch.requests for batch in self.batches(run))

    def batches(self, run: Run) -> list[Batch]:
        """Return all batches of a run, ordered by round and batch."""
        return self._batches(run.number)

    def _batches(self, run: int) -> list[Batch]:
        if run in self._in_memory:
            return list(self._in_memory[run])
        query = f"SELECT {_COLUMNS} FROM batch WHERE run = ? ORDER BY round, batch"
        return [read_record(Batch, row) for row in self._db.execute(query, (run,))]

    def run_batches(self, run: Run) -> RunBatches:
        """Return the batches of a run with their totals; they stay in memory while this store holds the lock."""
        if not self._holds(run):
            return RunBatches(self.batches(run))
        if run.number not in self._in_memory:
            self._in_memory[run.number] = RunBatches(self.batches(run))
        return self._in_memory[run.number]

    def _reload(self, run: int, key: BatchKey) -> None:
        """Read a batch from the database again, if the batches of its run are in memory."""
        if (known := self._in_memory.get(run)) is not None:
            query = f"SELECT {_COLUMNS} FROM batch WHERE run = ? AND round = ? AND batch = ?"
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
        with self.row_index.open_finder(run) as earlier:
            self._add_parts(run, batch, bodies, earlier)
        self.remove_batch(batch)

    def _add_parts(self, run: Run, batch: Batch, bodies: Iterable[Body], earlier: RowFinder) -> None:
        for body in bodies:
            self.add_batch(run, batch.round, body, earlier=earlier, cache=batch.cache)
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
        with self.row_index.open_finder(run) as earlier:
            self._in_memory.pop(run.number, None)
            self._db.execute("DELETE FROM batch WHERE run = ?", (run.number,))
            for body in bodies:
                self.add_batch(run, 1, body, earlier=earlier)

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
        found = [Outcome(*one) for one in sorted(outcomes)]
        index = self.row_index.write_results(batch, found)
        counts = self._count(batch.run, {one.row: one.name for one in found})
        retries = sum(one.retry > 0 for one in found)
        with self.transaction():
            self.counts.add(batch.run, counts)
            return self.transition(batch, "collected", result_index=index, retries=retries, **columns)

    def correct_outcomes(self, run: Run, outcomes: Mapping[int, str]) -> None:
        """Replace the outcomes of these rows, inside the caller's transaction."""
        with self.row_index.open_finder(run) as finder:
            attempts = {row: attempt.batch for row in outcomes if (attempt := finder.find(row)) is not None}
        for batch in dict.fromkeys(attempts.values()):
            found = (
                one._replace(name=outcomes.get(one.row, one.name)) for one in self.row_index.outcomes_of(batch)
            )
            self.transition(batch, batch.state, result_index=self.row_index.write_results(batch, found))
        if len(attempts) < len(outcomes) and run.unsent_index is not None:
            index = self.row_index.correct_unsent_rows(run, outcomes)
            run = self.update_run(run, unsent_index=index)
        self.recount_outcomes(run)

    def recount_outcomes(self, run: Run) -> None:
        """Count the outcomes of all rows again, inside the caller's transaction."""
        counts = Counter(outcome for _, outcome, *_ in self.row_index.row_outcomes(run) if outcome is not None)
        self.counts.replace(run.number, counts)

    def answered_requests(self, run: Run | None = None) -> AnsweredRequests:
        """Return the answered requests of all runs but this one, which may belong to another store."""
        others = [other for other in self.runs() if run is None or other.id != run.id]
        return AnsweredRequests(self.path, self.row_index, others)
