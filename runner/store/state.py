"""Runs, batches and rows, and the changes of state that they can make.

Every change of state is one transaction; a batch changes its state by
compare-and-set, so that a step which is done twice fails instead of happening twice.
"""

import secrets
import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from runner.errors import StateError
from runner.request import Body
from runner.store.database import open_database
from runner.store.folder import RunFolder

_CHUNK = 10_000
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a spec. Times are Unix seconds; `rows` counts the rows of the source.

    `state`: preparing (bodies are being written), prepared (nothing sent yet), running, finished, or
    abandoned for a newer run.
    """

    number: int
    id: str
    spec: str
    spec_path: str
    fingerprint: str
    state: str
    rows: int
    is_canceled: bool
    created_at: float
    finished_at: float | None
    sinks: str


@dataclass(frozen=True, slots=True)
class Batch:
    """One remote batch to be, or that was. Sizes are bytes; times are Unix seconds by the API's clock.

    `state`: prepared, submitting (the intent is recorded, the answer is not), submitted, ended, collected.
    `unknown_at` is when it was first asked whether a create without an answer was accepted.
    `counts` is the JSON of the API's request_counts at the end, `usage` of the tokens that its answers used.
    """

    run: int
    round: int
    batch: int
    state: str
    requests: int
    bytes: int
    sha256: str
    intent_at: float | None
    base_url: str | None
    batch_id: str | None
    unknown_at: float | None
    request_id: str | None
    workspace_id: str | None
    created_at: float | None
    ended_at: float | None
    counts: str
    usage: str


def _columns(kind: type) -> str:
    return ", ".join(f'"{field.name}"' for field in fields(kind))


_RUN, _BATCH = _columns(Run), _columns(Batch)


def _new_id() -> str:
    """Ten characters that sort by time; the last four are random, so that no two runs share an id."""
    seconds, digits = int(time.time()), ""
    while seconds:
        seconds, digit = divmod(seconds, 36)
        digits = _DIGITS[digit] + digits
    return digits + "".join(secrets.choice(_DIGITS) for _ in range(4))


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
        return RunFolder(self.path / "runs" / run.id)

    def runs(self, spec: str | None = None) -> list[Run]:
        """All runs, or those of one spec by its name, newest first."""
        where, values = ("WHERE spec = ?", (spec,)) if spec is not None else ("", ())
        rows = self._db.execute(f"SELECT {_RUN} FROM run {where} ORDER BY number DESC", values)
        return [_run(row) for row in rows]

    def start(self, *, spec: str, spec_path: str, fingerprint: str) -> Run:
        """Record a new run in the state `preparing`, with its empty folder."""
        values = (_new_id(), spec, spec_path, fingerprint, "preparing", time.time())
        columns = "id, spec, spec_path, fingerprint, state, created_at"
        self._db.execute(f"INSERT INTO run ({columns}) VALUES (?, ?, ?, ?, ?, ?)", values)
        run = self.runs(spec)[0]
        self.folder(run).create()
        return run

    def discard(self, run: Run) -> None:
        """Forget a run of which nothing was ever sent."""
        self._db.execute("DELETE FROM run WHERE number = ?", (run.number,))
        shutil.rmtree(self.folder(run).path, ignore_errors=True)

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

    def add_batch(self, run: Run, round: int, body: Body) -> None:
        """Record a body that is on disk as a prepared batch, inside the caller's transaction."""
        values = (run.number, round, body.batch, "prepared", len(body.requests), body.bytes, body.sha256)
        columns = "run, round, batch, state, requests, bytes, sha256"
        self._db.execute(f"INSERT INTO batch ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        self._db.executemany(
            "INSERT INTO row (run, row, round, batch, body_offset, body_length) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
            " ON CONFLICT (run, row) DO UPDATE SET round = ?3, batch = ?4, body_offset = ?5, body_length = ?6,"
            " outcome = NULL, again = 0, result_offset = NULL, result_length = NULL",
            ((run.number, row, round, body.batch, offset, length) for row, offset, length in body.requests),
        )

    def add_rejected(self, run: Run, rows: Iterable[tuple[int, int, int]]) -> None:
        """Record rows that cannot be sent: (row, offset, length) of their line in the results file 0, 0."""
        self._db.executemany(
            "INSERT INTO row VALUES (?, ?, 0, 0, 0, 0, 'rejected', 0, ?, ?)",
            ((run.number, row, offset, length) for row, offset, length in rows),
        )

    def recount(self, run: Run) -> None:
        """Count the outcomes of all rows anew, inside the caller's transaction."""
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

    def is_excluded(self, batch: Batch, batch_id: str) -> bool:
        """Whether a remote batch cannot be this one: it is bound to one of ours, or its results said no."""
        query = (
            "SELECT 1 FROM batch WHERE batch_id = ?1"
            " UNION SELECT 1 FROM stranger WHERE batch_id = ?1 AND run = ?2 AND round = ?3 AND batch = ?4"
        )
        values = (batch_id, batch.run, batch.round, batch.batch)
        return self._db.execute(query, values).fetchone() is not None

    def exclude(self, batch: Batch, batch_id: str) -> None:
        """Note that a remote batch is not this one."""
        values = (batch.run, batch.round, batch.batch, batch_id)
        self._db.execute("INSERT OR IGNORE INTO stranger VALUES (?, ?, ?, ?)", values)

    def rows_of(self, batch: Batch) -> list[int]:
        """The row numbers that a batch carries, ascending, while it is the latest attempt of its rows."""
        query = "SELECT row FROM row WHERE run = ? AND round = ? AND batch = ? ORDER BY row"
        return [row for (row,) in self._db.execute(query, (batch.run, batch.round, batch.batch))]

    def collect(
        self, batch: Batch, outcomes: Iterable[tuple[int, str, bool, int | None, int | None]], **columns: Any
    ) -> Batch:
        """Record (row, outcome, again, offset, length) of every row of a batch, and that it is collected."""
        counts: dict[str, int] = {}

        def values() -> Iterator[tuple[Any, ...]]:
            for row, outcome, again, offset, length in outcomes:
                counts[outcome] = counts.get(outcome, 0) + 1
                yield outcome, again, offset, length, batch.run, row

        with self.transaction():
            self._db.executemany(
                "UPDATE row SET outcome = ?, again = ?, result_offset = ?, result_length = ?"
                " WHERE run = ? AND row = ?",
                values(),
            )
            self._db.executemany(
                "INSERT INTO tally VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET rows = rows + ?3",
                [(batch.run, outcome, rows) for outcome, rows in counts.items()],
            )
            return self.move(batch, "collected", **columns)

    def again(self, run: Run) -> Iterator[tuple[int, int, int, int, int]]:
        """The rows to send again, as (row, round, batch, offset, length) of their latest params; ascending.

        They are read in chunks, so that the caller can write rows meanwhile.
        """
        query = (
            "SELECT row, round, batch, body_offset, body_length FROM row"
            " WHERE run = ? AND again = 1 AND row > ? ORDER BY row LIMIT ?"
        )
        last = 0
        while chunk := self._db.execute(query, (run.number, last, _CHUNK)).fetchall():
            yield from chunk
            last = chunk[-1][0]

    def outcomes(self, run: Run) -> Iterator[tuple[int, str | None, int, int, int | None, int | None]]:
        """Every row in order: (row, outcome, round, batch, offset, length of its line in the results)."""
        query = (
            "SELECT row, outcome, round, batch, result_offset, result_length FROM row WHERE run = ? ORDER BY row"
        )
        yield from self._db.execute(query, (run.number,))


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
