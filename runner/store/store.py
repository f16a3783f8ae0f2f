"""Runs, batches and rows, and their state transitions.

Each transition is one transaction. A batch changes its state by compare-and-set, so that a repeated step fails
instead of taking effect twice.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.errors import StateError
from runner.files.object_store import ObjectStore
from runner.requests.pack import Body
from runner.store.answer_index import AnsweredRequests, forget_answers
from runner.store.batch_index import Outcome, RunIndexes
from runner.store.connection import Connection, scope_of
from runner.store.database import RECOVER, make_state_folder, open_database
from runner.store.event_log import EventLog
from runner.store.key_hashes import KeyHashes
from runner.store.lease import Leases, check_not_moved
from runner.store.lock import HeldLock, SendGuard, guard_sending
from runner.store.moved import check_nothing_left
from runner.store.outcome_counts import OutcomeCounts
from runner.store.place import StatePlace
from runner.store.postgres import PostgresConnection, create_schema
from runner.store.records import Batch, Run, list_columns, read_record
from runner.store.remote_index import RemoteIndex
from runner.store.row_finder import RowFinder
from runner.store.row_index import RowIndex
from runner.store.run_batches import BatchKey, RunBatches, key_of
from runner.store.run_folder import RunFolder
from runner.store.run_ids import new_run_id
from runner.store.shared_files import SharedFiles

_NO_DIGESTS: Mapping[int, bytes] = {}
_NO_ADJUSTMENTS: Mapping[int, int] = {}
_RUN_COLUMNS, _BATCH_COLUMNS = list_columns(Run), list_columns(Batch)


class Store:
    """Durable state of all runs of a project."""

    def __init__(
        self,
        folder: Path,
        connection: Connection,
        lock: HeldLock | Leases | None = None,
        objects: ObjectStore | None = None,
    ) -> None:
        self.path = folder
        self._lock = lock
        self.shared = None
        if objects is not None:
            self.shared = SharedFiles(objects, folder, is_ours=self._is_ours, check_lock=self._check_upload)
        self._db = connection
        self._in_memory: dict[int, RunBatches] = {}
        self.row_index = RowIndex(self._batches, self._find_indexes)
        self.counts = OutcomeCounts(connection)
        self.key_hashes = KeyHashes()
        self.remote_index = RemoteIndex(connection)
        self.event_log = EventLog(connection)

    @property
    def fresh_start(self) -> str:
        """How to begin with an empty state in the place of this one, for messages."""
        return "move .runner away" if self.shared is None else "name another `project`"

    @property
    def remedy(self) -> str:
        """How to rebuild a state that is damaged or lost, for messages."""
        return f"{self.fresh_start} and {RECOVER}"

    def check_lock(self) -> None:
        """Raise StateLocked if another process has taken over the lock of this state."""
        if self._lock is not None:
            self._lock.check()

    def _check_upload(self) -> None:
        """Raise StateLocked as `check_lock` does, and show the database that this process is at work."""
        self.check_lock()
        if self._db.project is not None:
            self._db.execute("SELECT 1")

    def hold(self, spec: str) -> None:
        """Keep other runners away from a spec until the store is closed. Raises StateLocked.

        A state folder is locked as a whole.
        """
        if isinstance(self._lock, Leases) and not self._lock.holds(spec):
            # Another machine may have gone on with its runs since they were looked at.
            if self.shared is not None:
                self.shared.forget_others()
            self._lock.hold(spec)

    def _holds(self, run: Run) -> bool:
        return self._lock.holds(run.spec) if isinstance(self._lock, Leases) else self._lock is not None

    def _is_ours(self, run_id: str | None) -> bool:
        """Return whether no other process changes the files of a run, or those of no run."""
        if not isinstance(self._lock, Leases):
            return self._lock is not None
        found = self._db.execute("SELECT spec FROM run WHERE id = ?", (run_id,)).fetchone()
        return found is not None and self._lock.holds(found[0])

    def guard_sending(self) -> SendGuard:
        """Return a guard for a body that is about to be sent."""
        return guard_sending(self._lock)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all writes inside the block together at its end, or none of them."""
        try:
            with self._db.transaction():
                yield
                self.upload_pending()
        except BaseException as error:
            self._in_memory.clear()
            if isinstance(error, StateError):
                # A database breaks off who was suspended: then another runner may have taken over.
                self.check_lock()
            raise

    def folder(self, run: Run) -> RunFolder:
        """Return the folder of a run."""
        return self.folder_of(run.id)

    def folder_of(self, run_id: str) -> RunFolder:
        """Return the folder of the run with this id."""
        return RunFolder(self.path / "runs" / run_id, self.shared)

    def upload_pending(self) -> None:
        """Upload the files that were written, so that other machines have what the state is about to mention."""
        if self.shared is not None:
            self.shared.upload_pending()

    @property
    def uploads(self) -> Path:
        """The list of the files that were uploaded through the Files API; the next commit keeps what is added."""
        path = self.path / "files.jsonl"
        if self.shared is not None:
            self.shared.note_written(self.shared.fetch(path))
        return path

    def _find_indexes(self, number: int) -> RunIndexes:
        query = "SELECT id, unsent_index, duplicate_index FROM run WHERE number = ?"
        found = self._db.execute(query, (number,)).fetchone()
        if found is None:
            raise StateError("another runner has discarded a run meanwhile: run the command again")
        run_id, *indexes = found
        return RunIndexes(self.folder_of(run_id), *indexes)

    def runs(self, spec: str | None = None) -> list[Run]:
        """Return all runs, or the runs of the spec with this name, newest first."""
        wanted = scope_of(self._db) | ({} if spec is None else {"spec": spec})
        where = " AND ".join(f"{name} = ?" for name in wanted)
        query = f"SELECT {_RUN_COLUMNS} FROM run {where and 'WHERE'} {where} ORDER BY number DESC"
        rows = self._db.execute(query, tuple(wanted.values()))
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
        values = scope_of(self._db) | {
            "id": run_id or new_run_id(origin),
            "spec": spec,
            "spec_path": spec_path,
            "fingerprint": fingerprint,
            "state": "preparing",
            "created_at": time.time(),
            "recovered_at": None if run_id is None else time.time(),
            "is_pilot": is_pilot,
        }
        marks = ", ".join("?" * len(values))
        self._db.execute(f"INSERT INTO run ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))
        run = self.runs(spec)[0]
        self.folder(run).create()
        return run

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

    def previous_runs(self, run: Run) -> Iterator[Run]:
        """Return the other runs of the same spec, newest first."""
        return (other for other in self.runs(run.spec) if other.id != run.id)

    def batches(self, run: Run) -> list[Batch]:
        """Return all batches of a run, ordered by round and batch."""
        return self._batches(run.number)

    def _batches(self, run: int) -> list[Batch]:
        if run in self._in_memory:
            return list(self._in_memory[run])
        query = f"SELECT {_BATCH_COLUMNS} FROM batch WHERE run = ? ORDER BY round, batch"
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


@contextmanager
def _open_shared(place: StatePlace, *, lock: bool) -> Iterator[tuple[PostgresConnection, Leases | None]]:
    make_state_folder(place.folder)
    with closing(PostgresConnection(str(place.database), place.project)) as connection:
        create_schema(connection, str(place.database))
        check_not_moved(connection)
        if not lock:
            yield connection, None
            return
        check_nothing_left(place.folder, str(place))
        with closing(Leases(place, connection)) as leases:
            yield connection, leases


def _check_sent_runs(store: Store, shared: SharedFiles) -> None:
    """Raise StateError if a run was sent that the database does not know: it has lost the latest changes."""
    found = list(shared.find_sent_runs(_list_started(store)))
    # Another process may have started and sent one since.
    if lost := sorted(set(found) - _list_started(store)):
        raise StateError(f"the database lacks the run {lost[0]}, which was sent: restore it, or {store.remedy}")


def _list_started(store: Store) -> set[str]:
    """Return the ids of the runs of which something may have been sent, as the database has them."""
    return {run.id for run in store.runs() if run.state not in ("preparing", "prepared")}


@contextmanager
def open_store(place: StatePlace | Path, *, lock: bool = True) -> Iterator[Store]:
    """Open a state, creating it if necessary; a path is that of a folder with a state of its own.

    `lock` keeps other runners out until it is closed; on a shared state, `Store.hold` does for one spec.
    Raises StateLocked, and StateError if the state cannot be used.
    """
    place = StatePlace(place) if isinstance(place, Path) else place
    objects = None if place.project_files is None else ObjectStore(place.project_files)
    opened: AbstractContextManager[tuple[Connection, HeldLock | Leases | None]]
    opened = _open_shared(place, lock=lock) if place.is_shared else open_database(place.folder, lock=lock)
    with opened as (connection, held):
        store = Store(place.folder, connection, held, objects)
        if lock and store.shared is not None:
            _check_sent_runs(store, store.shared)
        try:
            yield store
        finally:
            store.key_hashes.close()
