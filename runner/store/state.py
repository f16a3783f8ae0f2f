"""Runs, batches and rows, and the changes of state that they can make.

Every change of state is one transaction; a batch changes its state by
compare-and-set, so that a step which is done twice fails instead of happening twice.
"""

import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from runner.body import Body
from runner.errors import StateError
from runner.store.database import open_database
from runner.store.folder import RunFolder
from runner.store.ids import new_id
from runner.store.known import Answers
from runner.store.records import Batch, Found, Run, Unsent

_CHUNK = 10_000
WHATEVER_ATTEMPTS = 2
"""How a row is marked that is sent again though it was sent as often as the spec says."""
_NO_DIGESTS: Mapping[int, bytes] = {}
_NO_EXTRAS: Mapping[int, int] = {}


def _columns(kind: type) -> str:
    return ", ".join(f'"{field.name}"' for field in fields(kind))


_RUN, _BATCH, _FOUND = _columns(Run), _columns(Batch), _columns(Found)


class Store:
    """Everything that must survive, for all runs of a project."""

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.path = folder
        self._db = connection

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside becomes durable together at the end, or not at all."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def folder(self, run: Run) -> RunFolder:
        """The files of a run."""
        return self.folder_of(run.id)

    def folder_of(self, run_id: str) -> RunFolder:
        """The files of the run with this id."""
        return RunFolder(self.path / "runs" / run_id)

    def runs(self, spec: str | None = None) -> list[Run]:
        """All runs, or those of one spec by its name, newest first."""
        where, values = ("WHERE spec = ?", (spec,)) if spec is not None else ("", ())
        rows = self._db.execute(f"SELECT {_RUN} FROM run {where} ORDER BY number DESC", values)
        return [_run(row) for row in rows]

    def start(self, *, spec: str, spec_path: str, fingerprint: str, origin: str, run_id: str | None = None) -> Run:
        """Record a run in the state `preparing`, with its empty folder; its id tells its origin, a digest.

        It is a new one, unless `run_id` says which it is: then it counts as recovered from the first moment.
        """
        values = (run_id or new_id(origin), spec, spec_path, fingerprint, "preparing", time.time())
        columns = "id, spec, spec_path, fingerprint, state, created_at, recovered_at"
        recovered_at = None if run_id is None else time.time()
        self._db.execute(f"INSERT INTO run ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", (*values, recovered_at))
        run = self.runs(spec)[0]
        self.folder(run).create()
        return run

    def discard(self, run: Run) -> None:
        """Forget a run of which nothing was ever sent."""
        self._db.execute("DELETE FROM run WHERE number = ?", (run.number,))
        shutil.rmtree(self.folder(run).path, ignore_errors=True)

    def purge(self, run: Run) -> Run:
        """Remove all that a run holds of its rows and answers; what was spent, and its outcomes, stay known."""
        with self.transaction():
            run = self.update(run, purged_at=run.purged_at or time.time())
            self._db.execute("DELETE FROM row WHERE run = ?", (run.number,))
        self.folder(run).purge()
        return run

    def update(self, run: Run, **columns: Any) -> Run:
        """Change columns of a run."""
        names = ", ".join(f"{name} = ?" for name in columns)
        self._db.execute(f"UPDATE run SET {names} WHERE number = ?", (*columns.values(), run.number))
        return replace(run, **columns)

    def note_keys(self, first_row: int, hashes: Iterable[int]) -> None:
        """Keep the hashes of the keys of consecutive rows until `repeated` asks for them."""
        with self.transaction():
            self._db.execute("CREATE TEMP TABLE IF NOT EXISTS seen (hash INTEGER, row INTEGER)")
            pairs = ((hash, row) for row, hash in enumerate(hashes, first_row))
            self._db.executemany("INSERT INTO seen VALUES (?, ?)", pairs)

    def repeated(self) -> list[tuple[int, int]]:
        """The pairs of rows, earlier first, whose keys have one hash; at most 20. The hashes are forgotten.

        SQLite sorts them on disk, so that memory stays flat.
        """
        query = "SELECT min(row), max(row) FROM seen GROUP BY hash HAVING count(*) > 1 ORDER BY 1 LIMIT 20"
        found = self._db.execute(query).fetchall()
        self._db.execute("DROP TABLE seen")
        return found

    def add_batch(
        self,
        run: Run,
        round: int,
        body: Body,
        digests: Mapping[int, bytes] = _NO_DIGESTS,
        lane: str = "batch",
        extras: Mapping[int, int] = _NO_EXTRAS,
    ) -> None:
        """Record a body that is on disk as a prepared batch, inside the caller's transaction.

        `digests` and `extras` (see `request.Encoded`) have those of new requests, by row; a request that is sent
        again has its own already.
        """
        values = (run.number, round, body.batch, "prepared", len(body.requests), body.bytes, body.sha256, lane)
        columns = "run, round, batch, state, requests, bytes, sha256, lane"
        self._db.execute(f"INSERT INTO batch ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
        columns = "run, row, round, batch, body_offset, body_length, digest, extra"
        self._db.executemany(
            f"INSERT INTO row ({columns}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
            " ON CONFLICT (run, row) DO UPDATE SET round = ?3, batch = ?4, body_offset = ?5, body_length = ?6,"
            " outcome = NULL, again = 0, result_offset = NULL, result_length = NULL",
            (
                (run.number, row, round, body.batch, offset, length, digests.get(row), extras.get(row, 0))
                for row, offset, length in body.requests
            ),
        )

    def new_requests(self, run: Run) -> int:
        """How many requests the first round of a prepared run sends."""
        return sum(batch.requests for batch in self.batches(run))

    def weights(self, run: Run) -> Iterator[int]:
        """What each request that a prepared run sends weighs: bytes of text, or what stands for as many tokens."""
        query = "SELECT body_length + extra FROM row WHERE run = ? AND batch > 0"
        return (weight for (weight,) in self._db.execute(query, (run.number,)))

    def weights_of(self, batch: Batch) -> list[int]:
        """What each request of a batch weighs, in the order of `requests_of`."""
        query = "SELECT body_length + extra FROM row WHERE run = ? AND round = ? AND batch = ? ORDER BY row"
        return [weight for (weight,) in self._db.execute(query, (batch.run, batch.round, batch.batch))]

    def nth_requests(self, run: Run, places: Iterable[int]) -> Iterator[tuple[int, int, int, int]]:
        """(batch, offset, length, weight) of some requests of a prepared run, by their places from 0 on."""
        query = (
            "SELECT batch, body_offset, body_length, body_length + extra FROM row WHERE run = ? AND batch > 0"
            " ORDER BY row LIMIT 1 OFFSET ?"
        )
        for place in places:
            yield from self._db.execute(query, (run.number, place))

    def earlier(self, run: Run) -> Iterator[Run]:
        """The runs of the same spec before one, newest first."""
        return (other for other in self.runs(run.spec) if other.id != run.id)

    def add_unsent(self, run: Run, rows: Iterable[Unsent]) -> None:
        """Record rows that are not sent, and have their outcome."""
        self._db.executemany(
            "INSERT INTO row (run, row, round, batch, body_offset, body_length, outcome, result_offset,"
            " result_length, digest) VALUES (?, ?, 0, 0, 0, 0, ?, ?, ?, ?)",
            ((run.number, *row) for row in rows),
        )

    def add_twins(self, run: Run, rows: Iterable[tuple[int, int]]) -> None:
        """Record rows that are not sent, since their request is that of an earlier row: (row, the earlier one)."""
        columns = "run, row, round, batch, body_offset, body_length, same_as"
        values = ((run.number, row, first) for row, first in rows)
        self._db.executemany(f"INSERT INTO row ({columns}) VALUES (?, ?, 0, 0, 0, 0, ?)", values)

    def recount(self, run: Run) -> None:
        """Count the outcomes of all rows anew, inside the caller's transaction."""
        self._db.execute(
            "UPDATE row SET outcome = (SELECT outcome FROM row AS first WHERE first.run = row.run"
            " AND first.row = row.same_as) WHERE run = ? AND same_as IS NOT NULL",
            (run.number,),
        )
        self._db.execute("DELETE FROM tally WHERE run = ?", (run.number,))
        self._db.execute(
            "INSERT INTO tally SELECT run, outcome, count(*) FROM row"
            " WHERE run = ? AND outcome IS NOT NULL GROUP BY outcome",
            (run.number,),
        )

    def tally(self, run: Run) -> dict[str, int]:
        """How many rows have each outcome so far."""
        return dict(
            self._db.execute("SELECT outcome, rows FROM tally WHERE run = ? ORDER BY outcome", (run.number,))
        )

    def batches(self, run: Run) -> list[Batch]:
        """All batches of a run, in the order of rounds and batches."""
        query = f"SELECT {_BATCH} FROM batch WHERE run = ? ORDER BY round, batch"
        return [Batch(*row) for row in self._db.execute(query, (run.number,))]

    def move(self, batch: Batch, state: str, **columns: Any) -> Batch:
        """Change the state of a batch, and columns with it, if it still is in the state that `batch` says."""
        names = "".join(f", {name} = ?" for name in columns)
        cursor = self._db.execute(
            f"UPDATE batch SET state = ?{names} WHERE run = ? AND round = ? AND batch = ? AND state = ?",
            (state, *columns.values(), batch.run, batch.round, batch.batch, batch.state),
        )
        if cursor.rowcount != 1:
            raise StateError(
                f"batch {batch.round}-{batch.batch} is not {batch.state} any more: two runners at once?"
            )
        return replace(batch, state=state, **columns)

    def part(self, batch: Batch, bodies: Iterable[Body]) -> None:
        """Put bodies in the place of a prepared batch whose rows they carry, inside the caller's transaction."""
        run = next(run for run in self.runs() if run.number == batch.run)
        for body in bodies:
            self.add_batch(run, batch.round, body)
            self._db.execute(
                "UPDATE batch SET refused_after = ?, unknown_at = ?, lane = ?"
                " WHERE run = ? AND round = ? AND batch = ?",
                (batch.refused_after, batch.unknown_at, batch.lane, batch.run, batch.round, body.batch),
            )
        self._db.execute(
            "DELETE FROM batch WHERE run = ? AND round = ? AND batch = ? AND state = 'prepared'",
            (batch.run, batch.round, batch.batch),
        )

    def lay_out(self, run: Run, bodies: Iterable[Body]) -> None:
        """Put bodies in the place of all batches of a first round, inside the caller's transaction."""
        self._db.execute("DELETE FROM batch WHERE run = ?", (run.number,))
        for body in bodies:
            self.add_batch(run, 1, body)

    def place_of(self, run: Run, row: int) -> tuple[int, int, int] | None:
        """(batch, offset, length) of the latest params of a row, or None if it is not sent."""
        query = "SELECT batch, body_offset, body_length FROM row WHERE run = ? AND row = ? AND batch > 0"
        found: tuple[int, int, int] | None = self._db.execute(query, (run.number, row)).fetchone()
        return found

    def forget_refusals(self, run: Run) -> None:
        """Let what the API refused be tried again."""
        self._db.execute("UPDATE batch SET refusal = NULL WHERE run = ? AND state = 'prepared'", (run.number,))

    def note_found(self, run: Run, found: Iterable[Found]) -> None:
        """Keep remote batches that are known to be of a run, inside the caller's transaction."""
        values = [(run.number, *(getattr(one, field.name) for field in fields(Found))) for one in found]
        self._db.executemany(f"INSERT OR IGNORE INTO found (run, {_FOUND}) VALUES (?, ?, ?, ?, ?, ?)", values)

    def found(self, run: Run, round: int) -> list[Found]:
        """The remote batches that are known to be of one round of a run."""
        query = f"SELECT {_FOUND} FROM found WHERE run = ? AND round = ? ORDER BY created_at"
        return [Found(*row) for row in self._db.execute(query, (run.number, round))]

    def is_excluded(self, batch: Batch, batch_id: str) -> bool:
        """Whether a remote batch cannot be this one: it is bound to one of ours, or its results said no."""
        query = (
            "SELECT 1 FROM batch WHERE batch_id = ?1"
            " UNION SELECT 1 FROM stranger WHERE batch_id = ?1 AND run = ?2 AND round = ?3 AND batch = ?4"
        )
        values = (batch_id, batch.run, batch.round, batch.batch)
        return self._db.execute(query, values).fetchone() is not None

    def is_bound(self, batch_id: str) -> bool:
        """Whether a remote batch is one of ours already."""
        return self._db.execute("SELECT 1 FROM batch WHERE batch_id = ?", (batch_id,)).fetchone() is not None

    def exclude(self, batch: Batch, batch_id: str) -> None:
        """Note that a remote batch is not this one."""
        values = (batch.run, batch.round, batch.batch, batch_id)
        self._db.execute("INSERT OR IGNORE INTO stranger VALUES (?, ?, ?, ?)", values)

    def rows_of(self, batch: Batch) -> list[int]:
        """The row numbers that a batch carries, ascending, while it is the latest attempt of its rows."""
        return [row for row, _, _ in self.requests_of(batch)]

    def requests_of(self, batch: Batch) -> list[tuple[int, int, int]]:
        """(row, offset, length) of the params of each row that a batch carries, as `rows_of`."""
        query = (
            "SELECT row, body_offset, body_length FROM row WHERE run = ? AND round = ? AND batch = ? ORDER BY row"
        )
        return self._db.execute(query, (batch.run, batch.round, batch.batch)).fetchall()

    def results_of(self, batch: Batch) -> list[tuple[int, int, int]]:
        """(row, offset, length) of the result of each row that a batch carries, ascending, as `rows_of`."""
        query = (
            "SELECT row, result_offset, result_length FROM row WHERE run = ? AND round = ? AND batch = ?"
            " AND result_offset IS NOT NULL ORDER BY row"
        )
        return self._db.execute(query, (batch.run, batch.round, batch.batch)).fetchall()

    def collect(
        self, batch: Batch, outcomes: Iterable[tuple[int, str, int, int | None, int | None]], **columns: Any
    ) -> Batch:
        """Record (row, outcome, again, offset, length) of every row of a batch, and that it is collected.

        `again` is 0 for a final outcome, 1 if the row is sent again, 2 if whatever its attempts.
        """
        counts: dict[str, int] = {}
        rows: list[int] = []

        def values() -> Iterator[tuple[Any, ...]]:
            for row, outcome, again, offset, length in outcomes:
                counts[outcome] = counts.get(outcome, 0) + 1
                rows.append(row)
                yield outcome, again, offset, length, batch.run, row

        with self.transaction():
            self._db.executemany(
                "UPDATE row SET outcome = ?, again = ?, result_offset = ?, result_length = ?"
                " WHERE run = ? AND row = ?",
                values(),
            )
            for outcome, twins in self._settle_twins(batch, rows):
                counts[outcome] += twins
            self._db.executemany(
                "INSERT INTO tally VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET rows = rows + ?3",
                [(batch.run, outcome, rows) for outcome, rows in counts.items()],
            )
            return self.move(batch, "collected", **columns)

    def _settle_twins(self, batch: Batch, rows: list[int]) -> list[tuple[str, int]]:
        """Give the outcomes of a batch to the rows that have the same requests; return (outcome, rows)."""
        query = "SELECT EXISTS (SELECT 1 FROM row WHERE run = ? AND same_as IS NOT NULL)"
        if not rows or not self._db.execute(query, (batch.run,)).fetchone()[0]:
            return []
        values = {
            "run": batch.run,
            "first": min(rows),
            "last": max(rows),
            "round": batch.round,
            "batch": batch.batch,
        }
        twins = "FROM row AS first WHERE first.run = :run AND first.row = row.same_as AND first.round = :round"
        twins += " AND first.batch = :batch AND row.run = :run AND row.same_as BETWEEN :first AND :last"
        self._db.execute(f"UPDATE row SET outcome = first.outcome {twins}", values)
        query = f"SELECT row.outcome, count(*) {twins.replace('FROM row AS first', 'FROM row, row AS first')}"
        return self._db.execute(f"{query} GROUP BY row.outcome", values).fetchall()

    def again(
        self, run: Run, *, least: int = 1
    ) -> Iterator[tuple[int, int, int, int, int, int | None, int | None]]:
        """The rows to send again, ascending; with a `least` of 2 only those to send whatever their attempts.

        Yields (row, round, batch, offset, length) of their latest params, and the offset and length of their
        line in the results of that batch. They are read in chunks, so that the caller can write rows meanwhile.
        """
        query = (
            "SELECT row, round, batch, body_offset, body_length, result_offset, result_length FROM row"
            " WHERE run = ? AND again >= ? AND row > ? ORDER BY row LIMIT ?"
        )
        last = 0
        while chunk := self._db.execute(query, (run.number, least, last, _CHUNK)).fetchall():
            yield from chunk
            last = chunk[-1][0]

    def outcomes(self, run: Run) -> Iterator[tuple[int, str | None, int, int, int | None, int | None, int]]:
        """Every row in order: (row, outcome, round, batch, offset, length of its line in the results, row there).

        The last differs from the first where an earlier row has the same request.
        """
        query = (
            "SELECT row.row, row.outcome, one.round, one.batch, one.result_offset, one.result_length, one.row"
            " FROM row JOIN row AS one ON one.run = row.run AND one.row = coalesce(row.same_as, row.row)"
            " WHERE row.run = ? ORDER BY row.row"
        )
        yield from self._db.execute(query, (run.number,))

    def answers(self, run: Run) -> Answers:
        """The requests that succeeded in other runs than this one, which may be of another store."""
        is_ours = any(other.id == run.id for other in self.runs())
        return Answers(self._db, run.number if is_ours else None)


def _run(row: tuple[Any, ...]) -> Run:
    run = Run(*row)
    return replace(run, is_canceled=bool(run.is_canceled))


@contextmanager
def open_store(folder: Path, *, lock: bool = True) -> Iterator[Store]:
    """Open a state folder, making it if need be; `lock` keeps every other runner out meanwhile.

    Raises Locked, and StateError if the database cannot be used.
    """
    with open_database(folder, lock=lock) as connection:
        yield Store(folder, connection)
