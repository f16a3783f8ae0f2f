"""Runs, batches and rows, and their state transitions.

Each transition is one transaction. A batch changes its state by compare-and-set, so that a repeated step fails
instead of taking effect twice.
"""

import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from runner.errors import StateError
from runner.requests.pack import Body
from runner.store.database import open_database
from runner.store.records import Batch, RecoveredBatch, Run, SettledRow
from runner.store.request_index import SucceededRequests
from runner.store.run_folder import RunFolder
from runner.store.run_ids import new_run_id

_CHUNK = 10_000


RETRY_ALWAYS = 2
"""Value of `rows_to_retry` for a row that is sent again however many attempts it has had."""


_NO_DIGESTS: Mapping[int, bytes] = {}


_NO_ADJUSTMENTS: Mapping[int, int] = {}


def _column_list(kind: type) -> str:
    return ", ".join(f'"{field.name}"' for field in fields(kind))


_RUN_COLUMNS, _BATCH_COLUMNS, _RECOVERED_COLUMNS = (
    _column_list(Run),
    _column_list(Batch),
    _column_list(RecoveredBatch),
)


class Store:
    """Durable state of all runs of a project."""

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.path = folder
        self._db = connection

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all writes inside the block together at its end, or none of them."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

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
        return [_run_from_row(row) for row in rows]

    def create_run(
        self, *, spec: str, spec_path: str, fingerprint: str, origin: str, run_id: str | None = None
    ) -> Run:
        """Record a run in the state `preparing`, and create its empty folder.

        The new id encodes `origin`, a digest. A run with a given `run_id` counts as recovered from the start.
        """
        values = (run_id or new_run_id(origin), spec, spec_path, fingerprint, "preparing", time.time())
        columns = "id, spec, spec_path, fingerprint, state, created_at, recovered_at"
        recovered_at = None if run_id is None else time.time()
        self._db.execute(f"INSERT INTO run ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", (*values, recovered_at))
        run = self.runs(spec)[0]
        self.folder(run).create()
        return run

    def delete_run(self, run: Run) -> None:
        """Delete a run that never sent anything."""
        self._db.execute("DELETE FROM run WHERE number = ?", (run.number,))
        shutil.rmtree(self.folder(run).path, ignore_errors=True)

    def purge_run(self, run: Run) -> Run:
        """Delete the rows and answers of a run, and keep its costs and the counts of its outcomes."""
        with self.transaction():
            run = self.update_run(run, purged_at=run.purged_at or time.time())
            self._db.execute("DELETE FROM row WHERE run = ?", (run.number,))
        self.folder(run).purge()
        return run

    def update_run(self, run: Run, **columns: Any) -> Run:
        """Change columns of a run."""
        names = ", ".join(f"{name} = ?" for name in columns)
        self._db.execute(f"UPDATE run SET {names} WHERE number = ?", (*columns.values(), run.number))
        return replace(run, **columns)

    def add_key_hashes(self, first_row: int, hashes: Iterable[int]) -> None:
        """Store the hashes of the keys of consecutive rows until `find_duplicate_key_hashes` is called."""
        with self.transaction():
            self._db.execute("CREATE TEMP TABLE IF NOT EXISTS key_hash (hash INTEGER, row INTEGER)")
            pairs = ((hash, row) for row, hash in enumerate(hashes, first_row))
            self._db.executemany("INSERT INTO key_hash VALUES (?, ?)", pairs)

    def find_duplicate_key_hashes(self) -> list[tuple[int, int]]:
        """Return at most 20 pairs of rows, earlier first, whose keys have equal hashes; delete all hashes.

        SQLite sorts them on disk, so that memory stays flat.
        """
        query = "SELECT min(row), max(row) FROM key_hash GROUP BY hash HAVING count(*) > 1 ORDER BY 1 LIMIT 20"
        found = self._db.execute(query).fetchall()
        self._db.execute("DROP TABLE key_hash")
        return found

    def add_batch(
        self,
        run: Run,
        round: int,
        body: Body,
        digests: Mapping[int, bytes] = _NO_DIGESTS,
        send_mode: str = "batch",
        size_adjustments: Mapping[int, int] = _NO_ADJUSTMENTS,
    ) -> None:
        """Record a body that is on disk as a prepared batch, inside the caller's transaction.

        `digests` and `size_adjustments` (see `EncodedRequest`) hold the values of new requests, by row. A
        request that is sent again keeps its own.
        """
        values = (
            run.number,
            round,
            body.batch,
            "prepared",
            len(body.requests),
            body.bytes,
            body.sha256,
            send_mode,
        )
        columns = "run, round, batch, state, requests, bytes, sha256, send_mode"
        self._db.execute(f"INSERT INTO batch ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
        columns = "run, row, round, batch, body_offset, body_length, digest, size_adjustment"
        self._db.executemany(
            f"INSERT INTO row ({columns}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
            " ON CONFLICT (run, row) DO UPDATE SET round = ?3, batch = ?4, body_offset = ?5, body_length = ?6,"
            " outcome = NULL, retry = 0, result_offset = NULL, result_length = NULL",
            (
                (
                    run.number,
                    row,
                    round,
                    body.batch,
                    offset,
                    length,
                    digests.get(row),
                    size_adjustments.get(row, 0),
                )
                for row, offset, length in body.requests
            ),
        )

    def count_new_requests(self, run: Run) -> int:
        """Return the number of requests in the first round of a prepared run."""
        return sum(batch.requests for batch in self.batches(run))

    def request_sizes(self, run: Run) -> Iterator[int]:
        """Return the size of each request of a prepared run: its bytes, corrected for attachments."""
        query = "SELECT body_length + size_adjustment FROM row WHERE run = ? AND batch > 0"
        return (size for (size,) in self._db.execute(query, (run.number,)))

    def request_sizes_of(self, batch: Batch) -> list[int]:
        """Return the size of each request of a batch, in the order of `requests_of`."""
        query = (
            "SELECT body_length + size_adjustment FROM row WHERE run = ? AND round = ? AND batch = ? ORDER BY row"
        )
        return [size for (size,) in self._db.execute(query, (batch.run, batch.round, batch.batch))]

    def requests_at(self, run: Run, indexes: Iterable[int]) -> Iterator[tuple[int, int, int, int]]:
        """Yield (batch, offset, length, size) of the requests at these places in a prepared run, from 0."""
        query = (
            "SELECT batch, body_offset, body_length, body_length + size_adjustment FROM row"
            " WHERE run = ? AND batch > 0 ORDER BY row LIMIT 1 OFFSET ?"
        )
        for place in indexes:
            yield from self._db.execute(query, (run.number, place))

    def previous_runs(self, run: Run) -> Iterator[Run]:
        """Return the other runs of the same spec, newest first."""
        return (other for other in self.runs(run.spec) if other.id != run.id)

    def add_settled_rows(self, run: Run, rows: Iterable[SettledRow]) -> None:
        """Record rows that are not sent, together with their outcomes."""
        self._db.executemany(
            "INSERT INTO row (run, row, round, batch, body_offset, body_length, outcome, result_offset,"
            " result_length, digest) VALUES (?, ?, 0, 0, 0, 0, ?, ?, ?, ?)",
            ((run.number, *row) for row in rows),
        )

    def add_duplicates(self, run: Run, rows: Iterable[tuple[int, int]]) -> None:
        """Record rows that are not sent because an earlier row has the same request: (row, earlier row)."""
        columns = "run, row, round, batch, body_offset, body_length, duplicate_of"
        values = ((run.number, row, first) for row, first in rows)
        self._db.executemany(f"INSERT INTO row ({columns}) VALUES (?, ?, 0, 0, 0, 0, ?)", values)

    def recount_outcomes(self, run: Run) -> None:
        """Recount the outcomes of all rows, inside the caller's transaction."""
        self._db.execute(
            "UPDATE row SET outcome = (SELECT outcome FROM row AS first WHERE first.run = row.run"
            " AND first.row = row.duplicate_of) WHERE run = ? AND duplicate_of IS NOT NULL",
            (run.number,),
        )
        self._db.execute("DELETE FROM outcome_count WHERE run = ?", (run.number,))
        self._db.execute(
            "INSERT INTO outcome_count SELECT run, outcome, count(*) FROM row"
            " WHERE run = ? AND outcome IS NOT NULL GROUP BY outcome",
            (run.number,),
        )

    def outcome_counts(self, run: Run) -> dict[str, int]:
        """Return the number of rows per outcome so far."""
        return dict(
            self._db.execute(
                "SELECT outcome, rows FROM outcome_count WHERE run = ? ORDER BY outcome", (run.number,)
            )
        )

    def batches(self, run: Run) -> list[Batch]:
        """Return all batches of a run, ordered by round and batch."""
        query = f"SELECT {_BATCH_COLUMNS} FROM batch WHERE run = ? ORDER BY round, batch"
        return [Batch(*row) for row in self._db.execute(query, (run.number,))]

    def transition(self, batch: Batch, state: str, **columns: Any) -> Batch:
        """Change the state and columns of a batch. Raises StateError if it is no longer in `batch.state`."""
        names = "".join(f", {name} = ?" for name in columns)
        cursor = self._db.execute(
            f"UPDATE batch SET state = ?{names} WHERE run = ? AND round = ? AND batch = ? AND state = ?",
            (state, *columns.values(), batch.run, batch.round, batch.batch, batch.state),
        )
        if cursor.rowcount != 1:
            raise StateError(
                f"batch {batch.round}-{batch.batch} is no longer {batch.state}: is another runner using it?"
            )
        return replace(batch, state=state, **columns)

    def replace_batch(self, batch: Batch, bodies: Iterable[Body]) -> None:
        """Replace a prepared batch by bodies with the same rows, inside the caller's transaction."""
        run = next(run for run in self.runs() if run.number == batch.run)
        for body in bodies:
            self.add_batch(run, batch.round, body)
            self._db.execute(
                "UPDATE batch SET accepted_before_rejection = ?, search_started_at = ?, send_mode = ?"
                " WHERE run = ? AND round = ? AND batch = ?",
                (
                    batch.accepted_before_rejection,
                    batch.search_started_at,
                    batch.send_mode,
                    batch.run,
                    batch.round,
                    body.batch,
                ),
            )
        self._db.execute(
            "DELETE FROM batch WHERE run = ? AND round = ? AND batch = ? AND state = 'prepared'",
            (batch.run, batch.round, batch.batch),
        )

    def replace_batches(self, run: Run, bodies: Iterable[Body]) -> None:
        """Replace all batches of a first round by bodies, inside the caller's transaction."""
        self._db.execute("DELETE FROM batch WHERE run = ?", (run.number,))
        for body in bodies:
            self.add_batch(run, 1, body)

    def location_of(self, run: Run, row: int) -> tuple[int, int, int] | None:
        """Return (batch, offset, length) of the latest params of a row, or None if it is not sent."""
        query = "SELECT batch, body_offset, body_length FROM row WHERE run = ? AND row = ? AND batch > 0"
        found: tuple[int, int, int] | None = self._db.execute(query, (run.number, row)).fetchone()
        return found

    def clear_rejections(self, run: Run) -> None:
        """Clear the rejections of prepared batches, so that they are sent again."""
        self._db.execute("UPDATE batch SET rejection = NULL WHERE run = ? AND state = 'prepared'", (run.number,))

    def add_recovered_batches(self, run: Run, found: Iterable[RecoveredBatch]) -> None:
        """Record remote batches that belong to a run, inside the caller's transaction."""
        values = [(run.number, *(getattr(one, field.name) for field in fields(RecoveredBatch))) for one in found]
        self._db.executemany(
            f"INSERT OR IGNORE INTO recovered_batch (run, {_RECOVERED_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", values
        )

    def recovered_batches(self, run: Run, round: int) -> list[RecoveredBatch]:
        """Return the recorded remote batches of one round of a run."""
        query = f"SELECT {_RECOVERED_COLUMNS} FROM recovered_batch WHERE run = ? AND round = ? ORDER BY created_at"
        return [RecoveredBatch(*row) for row in self._db.execute(query, (run.number, round))]

    def is_excluded(self, batch: Batch, batch_id: str) -> bool:
        """Return whether a remote batch cannot be this one: it is bound already, or its results rule it out."""
        query = (
            "SELECT 1 FROM batch WHERE batch_id = ?1"
            " UNION SELECT 1 FROM excluded_batch WHERE batch_id = ?1 AND run = ?2 AND round = ?3 AND batch = ?4"
        )
        values = (batch_id, batch.run, batch.round, batch.batch)
        return self._db.execute(query, values).fetchone() is not None

    def is_assigned(self, batch_id: str) -> bool:
        """Return whether a remote batch is already bound to a recorded batch."""
        return self._db.execute("SELECT 1 FROM batch WHERE batch_id = ?", (batch_id,)).fetchone() is not None

    def exclude_batch(self, batch: Batch, batch_id: str) -> None:
        """Record that a remote batch is not this one."""
        values = (batch.run, batch.round, batch.batch, batch_id)
        self._db.execute("INSERT OR IGNORE INTO excluded_batch VALUES (?, ?, ?, ?)", values)

    def rows_of(self, batch: Batch) -> list[int]:
        """Return the numbers of the rows whose latest attempt is this batch, ascending."""
        return [row for row, _, _ in self.requests_of(batch)]

    def requests_of(self, batch: Batch) -> list[tuple[int, int, int]]:
        """Return (row, offset, length) of the params of each row in `rows_of`."""
        query = (
            "SELECT row, body_offset, body_length FROM row WHERE run = ? AND round = ? AND batch = ? ORDER BY row"
        )
        return self._db.execute(query, (batch.run, batch.round, batch.batch)).fetchall()

    def results_of(self, batch: Batch) -> list[tuple[int, int, int]]:
        """Return (row, offset, length) of the result of each row in `rows_of` that has one."""
        query = (
            "SELECT row, result_offset, result_length FROM row WHERE run = ? AND round = ? AND batch = ?"
            " AND result_offset IS NOT NULL ORDER BY row"
        )
        return self._db.execute(query, (batch.run, batch.round, batch.batch)).fetchall()

    def collect_batch(
        self, batch: Batch, outcomes: Iterable[tuple[int, str, int, int | None, int | None]], **columns: Any
    ) -> Batch:
        """Record (row, outcome, retry, offset, length) of every row, and mark the batch as collected.

        `retry` is 0 for a final outcome, 1 if the row is sent again, and 2 if that holds whatever its attempts.
        """
        counts: dict[str, int] = {}
        rows: list[int] = []

        def values() -> Iterator[tuple[Any, ...]]:
            for row, outcome, retry, offset, length in outcomes:
                counts[outcome] = counts.get(outcome, 0) + 1
                rows.append(row)
                yield outcome, retry, offset, length, batch.run, row

        with self.transaction():
            self._db.executemany(
                "UPDATE row SET outcome = ?, retry = ?, result_offset = ?, result_length = ?"
                " WHERE run = ? AND row = ?",
                values(),
            )
            for outcome, duplicates in self._settle_duplicates(batch, rows):
                counts[outcome] += duplicates
            self._db.executemany(
                "INSERT INTO outcome_count VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET rows = rows + ?3",
                [(batch.run, outcome, rows) for outcome, rows in counts.items()],
            )
            return self.transition(batch, "collected", **columns)

    def _settle_duplicates(self, batch: Batch, rows: list[int]) -> list[tuple[str, int]]:
        """Copy the outcomes of a batch to duplicates of its rows; return (outcome, number of duplicates)."""
        query = "SELECT EXISTS (SELECT 1 FROM row WHERE run = ? AND duplicate_of IS NOT NULL)"
        if not rows or not self._db.execute(query, (batch.run,)).fetchone()[0]:
            return []
        values = {
            "run": batch.run,
            "first": min(rows),
            "last": max(rows),
            "round": batch.round,
            "batch": batch.batch,
        }
        duplicates = (
            "FROM row AS first WHERE first.run = :run AND first.row = row.duplicate_of AND first.round = :round"
        )
        duplicates += " AND first.batch = :batch AND row.run = :run AND row.duplicate_of BETWEEN :first AND :last"
        self._db.execute(f"UPDATE row SET outcome = first.outcome {duplicates}", values)
        query = f"SELECT row.outcome, count(*) {duplicates.replace('FROM row AS first', 'FROM row, row AS first')}"
        return self._db.execute(f"{query} GROUP BY row.outcome", values).fetchall()

    def rows_to_retry(
        self, run: Run, *, min_retry: int = 1
    ) -> Iterator[tuple[int, int, int, int, int, int | None, int | None]]:
        """Yield the rows to send again, ascending; `min_retry` 2 selects those sent whatever their attempts.

        Each is (row, round, batch, offset, length) of its latest params, then the offset and length of its line in
        the results of that batch. Rows are read in chunks, so that the caller can write rows meanwhile.
        """
        query = (
            "SELECT row, round, batch, body_offset, body_length, result_offset, result_length FROM row"
            " WHERE run = ? AND retry >= ? AND row > ? ORDER BY row LIMIT ?"
        )
        last = 0
        while chunk := self._db.execute(query, (run.number, min_retry, last, _CHUNK)).fetchall():
            yield from chunk
            last = chunk[-1][0]

    def row_outcomes(self, run: Run) -> Iterator[tuple[int, str | None, int, int, int | None, int | None, int]]:
        """Yield every row in order: (row, outcome, round, batch, offset, length, row in the results).

        Offset and length locate its line in the results, in bytes. The last number differs from the first if an
        earlier row has the same request.
        """
        query = (
            "SELECT row.row, row.outcome, one.round, one.batch, one.result_offset, one.result_length, one.row"
            " FROM row JOIN row AS one ON one.run = row.run AND one.row = coalesce(row.duplicate_of, row.row)"
            " WHERE row.run = ? ORDER BY row.row"
        )
        yield from self._db.execute(query, (run.number,))

    def succeeded_requests(self, run: Run) -> SucceededRequests:
        """Return the successful requests of all runs but this one, which may belong to another store."""
        is_ours = any(other.id == run.id for other in self.runs())
        return SucceededRequests(self._db, run.number if is_ours else None)


def _run_from_row(row: tuple[Any, ...]) -> Run:
    run = Run(*row)
    return replace(run, is_canceled=bool(run.is_canceled))


@contextmanager
def open_store(folder: Path, *, lock: bool = True) -> Iterator[Store]:
    """Open a state folder, creating it if necessary; `lock` keeps other runners out until it is closed.

    Raises StateLocked, and StateError if the database cannot be used.
    """
    with open_database(folder, lock=lock) as connection:
        yield Store(folder, connection)
