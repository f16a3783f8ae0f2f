"""The rows of all runs: integers that locate each request and result, and the outcomes.

Payloads are in the files of the run. Writing methods run inside the caller's transaction.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from runner.errors import StateError
from runner.requests.pack import Body
from runner.store.records import Batch, Run, SettledRow

_CHUNK = 10_000

_SENT_LENGTH = "coalesce(sent_length, body_length)"
_SIZE = f"{_SENT_LENGTH} + size_adjustment"

# The range is for speed: without it, every row of the run would be read.
_IN_BATCH = "run = ? AND row BETWEEN ? AND ? AND round = ? AND batch = ?"

RETRY_ALWAYS = 2
"""Value of `rows_to_retry` for a row that is sent again however many attempts it has had."""


def _has_outcome(outcomes: Sequence[str]) -> str:
    return f" AND outcome IN ({', '.join('?' * len(outcomes))})" if outcomes else ""


def _place_of(batch: Batch) -> tuple[int, int, int, int, int]:
    """Return the values for `_IN_BATCH`."""
    return batch.run, batch.first_row, batch.last_row, batch.round, batch.batch


class RowIndex:
    """The rows of all runs of a project."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def add_requests(
        self, run: Run, round: int, body: Body, digests: Mapping[int, bytes], size_adjustments: Mapping[int, int]
    ) -> None:
        """Record the requests of a body; a row that is sent again keeps its digest."""
        columns = "run, row, round, batch, body_offset, body_length, digest, size_adjustment, sent_length"
        sent_lengths = body.sent_lengths
        self._db.executemany(
            f"INSERT INTO row ({columns}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
            " ON CONFLICT (run, row) DO UPDATE SET round = ?3, batch = ?4, body_offset = ?5, body_length = ?6,"
            " sent_length = ?9, outcome = NULL, retry = 0, result_offset = NULL, result_length = NULL",
            (
                (
                    run.number,
                    row,
                    round,
                    body.batch,
                    *where,
                    digests.get(row),
                    size_adjustments.get(row, 0),
                    sent_lengths.get(row),
                )
                for row, *where in body.requests
            ),
        )

    def record_outcomes(
        self, batch: Batch, outcomes: Iterable[tuple[int, str, int, int | None, int | None]]
    ) -> None:
        """Record (row, outcome, retry, offset, length) of each row of a batch, and the outcomes of duplicates."""
        counts: dict[str, int] = {}
        rows: list[int] = []

        def values() -> Iterator[tuple[Any, ...]]:
            for row, outcome, retry, offset, length in outcomes:
                counts[outcome] = counts.get(outcome, 0) + 1
                rows.append(row)
                yield outcome, retry, offset, length, batch.run, row

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

    def request_sizes(self, run: Run) -> Iterator[int]:
        """Return the size of each request of a prepared run: its bytes, corrected for attachments."""
        query = f"SELECT {_SIZE} FROM row WHERE run = ? AND batch > 0"
        return (size for (size,) in self._db.execute(query, (run.number,)))

    def largest_request_bytes(self, run: Run) -> int:
        """Return the bytes of the largest request of a prepared run, or 0."""
        query = f"SELECT max({_SENT_LENGTH}) FROM row WHERE run = ? AND batch > 0"
        [(found,)] = self._db.execute(query, (run.number,))
        return found or 0

    def largest_request_of(self, batch: Batch) -> int:
        """Return the bytes of the largest request of a batch, or 0."""
        [(found,)] = self._db.execute(f"SELECT max({_SENT_LENGTH}) FROM row WHERE {_IN_BATCH}", _place_of(batch))
        return found or 0

    def request_sizes_of(self, batch: Batch) -> list[int]:
        """Return the size of each request of a batch, in the order of `requests_of`."""
        query = f"SELECT {_SIZE} FROM row WHERE {_IN_BATCH} ORDER BY row"
        return [size for (size,) in self._db.execute(query, _place_of(batch))]

    def requests_at(self, run: Run, indexes: Iterable[int]) -> Iterator[tuple[int, int, int, int, int]]:
        """Yield (row, batch, offset, length, size) of the requests at these places in a prepared run, from 0."""
        query = (
            f"SELECT row, batch, body_offset, body_length, {_SIZE} FROM row"
            " WHERE run = ? AND batch > 0 ORDER BY row LIMIT 1 OFFSET ?"
        )
        for place in indexes:
            yield from self._db.execute(query, (run.number, place))

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

    def correct_outcomes(self, run: Run, outcomes: Iterable[tuple[int, str]]) -> None:
        """Replace the outcomes of these rows, given as (row, outcome), inside the caller's transaction."""
        values = ((outcome, run.number, row) for row, outcome in outcomes)
        self._db.executemany("UPDATE row SET outcome = ? WHERE run = ? AND row = ?", values)
        self.recount_outcomes(run)

    def outcome_counts(self, run: Run) -> dict[str, int]:
        """Return the number of rows per outcome so far. Raises StateError for a damaged count."""
        query = "SELECT outcome, rows FROM outcome_count WHERE run = ? ORDER BY outcome"
        found = dict(self._db.execute(query, (run.number,)))
        try:
            return msgspec.convert(found, dict[str, int])
        except msgspec.ValidationError as error:
            raise StateError(f"the database contains a damaged count of outcomes: {error}") from error

    def find_run_with_common_requests(self, run: Run, others: Sequence[Run]) -> int | None:
        """Return the number of the first of `others` that has requests of `run` which are not answered yet."""
        numbers = ", ".join(str(other.number) for other in others)
        query = (
            "SELECT min(other.run) FROM row AS own JOIN row AS other ON other.digest = own.digest"
            f" WHERE own.run = ? AND own.digest > x'' AND own.outcome IS NULL AND other.run IN ({numbers})"
        )
        (number,) = self._db.execute(query, (run.number,)).fetchone()
        return None if number is None else int(number)

    def location_of(self, run: Run, row: int) -> tuple[int, int, int] | None:
        """Return (batch, offset, length) of the latest params of a row, or None if it is not sent."""
        query = "SELECT batch, body_offset, body_length FROM row WHERE run = ? AND row = ? AND batch > 0"
        found: tuple[int, int, int] | None = self._db.execute(query, (run.number, row)).fetchone()
        return found

    def latest_request(self, run: Run, row: int) -> tuple[int, int, int, int] | None:
        """Return (round, batch, offset, length) of the latest params of a row, or None if it is not sent.

        They are those of an earlier row if that has the same request.
        """
        query = (
            "SELECT one.round, one.batch, one.body_offset, one.body_length"
            " FROM row JOIN row AS one ON one.run = row.run AND one.row = coalesce(row.duplicate_of, row.row)"
            " WHERE row.run = ? AND row.row = ? AND one.batch > 0"
        )
        found: tuple[int, int, int, int] | None = self._db.execute(query, (run.number, row)).fetchone()
        return found

    def earlier_request(self, digest: bytes) -> tuple[int, int, int, int, int] | None:
        """Return (run, round, batch, offset, length) of the newest params of a request whose answer was valid."""
        query = (
            "SELECT run, round, batch, body_offset, body_length FROM row"
            " WHERE digest = ? AND digest > x'' AND outcome = 'succeeded' AND batch > 0 ORDER BY run DESC LIMIT 1"
        )
        found: tuple[int, int, int, int, int] | None = self._db.execute(query, (digest,)).fetchone()
        return found

    def rows_of(self, batch: Batch) -> list[int]:
        """Return the numbers of the rows whose latest attempt is this batch, ascending."""
        return [row for row, _, _ in self.requests_of(batch)]

    def requests_of(self, batch: Batch) -> list[tuple[int, int, int]]:
        """Return (row, offset, length) of the params of each row in `rows_of`."""
        query = f"SELECT row, body_offset, body_length FROM row WHERE {_IN_BATCH} ORDER BY row"
        return self._db.execute(query, _place_of(batch)).fetchall()

    def results_of(self, batch: Batch) -> list[tuple[int, int, int]]:
        """Return (row, offset, length) of the result of each row in `rows_of` that has one."""
        query = (
            f"SELECT row, result_offset, result_length FROM row WHERE {_IN_BATCH}"
            " AND result_offset IS NOT NULL ORDER BY row"
        )
        return self._db.execute(query, _place_of(batch)).fetchall()

    def count_rows_of_round(self, run: Run, round: int, outcomes: Sequence[str] = ()) -> int:
        """Return the number of rows whose latest attempt is in this round; with `outcomes`, only of those."""
        query, values = "SELECT count(*) FROM row WHERE run = ? AND round = ?", (run.number, round, *outcomes)
        return int(self._db.execute(query + _has_outcome(outcomes), values).fetchone()[0])

    def results_of_round(
        self, run: Run, round: int, outcomes: Sequence[str]
    ) -> Iterator[tuple[int, int, int, int]]:
        """Yield (row, batch, offset, length) of the results of a round with these outcomes, by row."""
        query = (
            "SELECT row, batch, result_offset, result_length FROM row WHERE run = ? AND round = ?"
            f"{_has_outcome(outcomes)} AND result_offset IS NOT NULL ORDER BY row"
        )
        yield from self._db.execute(query, (run.number, round, *outcomes))

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

    def row_outcomes(
        self, run: Run
    ) -> Iterator[tuple[int, str | None, int, int, int | None, int | None, int, bytes | None]]:
        """Yield every row in order: (row, outcome, round, batch, offset, length, row in the results, digest).

        Offset and length locate its line in the results, in bytes. The row in the results differs from the first
        if an earlier row has the same request; the digest is then that of the earlier row. Rows are read in
        chunks, so that the caller can write rows meanwhile.
        """
        query = (
            "SELECT row.row, row.outcome, one.round, one.batch, one.result_offset, one.result_length, one.row,"
            " one.digest"
            " FROM row JOIN row AS one ON one.run = row.run AND one.row = coalesce(row.duplicate_of, row.row)"
            " WHERE row.run = ? AND row.row > ? ORDER BY row.row LIMIT ?"
        )
        last = 0
        while chunk := self._db.execute(query, (run.number, last, _CHUNK)).fetchall():
            yield from chunk
            last = chunk[-1][0]
