"""Find single rows of a run in its index files."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, groupby
from typing import Any, NamedTuple

from runner.errors import StateError
from runner.store.index.batch_index import BatchIndex, Request, locate
from runner.store.index.index_files import SortedRecords, digest_or_none, outcome_name
from runner.store.records import Batch
from runner.store.run_folder import FileSlices

BatchKey = tuple[int, int]


class Attempt(NamedTuple):
    """The latest attempt at a row: its batch, its request, and the position of both in the index files."""

    batch: Batch
    request: Request
    position: int


class _Round:
    """The batches of one round, found by a row.

    Each round has its own, since one batch of a later round can span all rows.
    """

    def __init__(self, batches: Sequence[Batch]) -> None:
        self._batches = sorted(batches, key=lambda batch: batch.first_row)
        self._firsts = [batch.first_row for batch in self._batches]
        # A row is in no batch before the first one whose predecessors all end earlier.
        self._lasts = list(accumulate((batch.last_row for batch in self._batches), max))

    def batches_around(self, row: int) -> list[Batch]:
        """Return the batches that can have a row, newest first."""
        found, place = [], bisect_right(self._firsts, row) - 1
        while place >= 0 and self._lasts[place] >= row:
            if self._batches[place].last_row >= row:
                found.append(self._batches[place])
            place -= 1
        return sorted(found, key=lambda batch: batch.batch, reverse=True)


class RowFinder:
    """The rows of a run as it was when the finder was opened, each with its latest attempt.

    `unsent` are the rows that are in no batch, if there are any.
    """

    def __init__(
        self, index: BatchIndex, batches: Sequence[Batch], unsent: SortedRecords | None, files: FileSlices
    ) -> None:
        self._index, self._unsent, self._files = index, unsent, files
        known = [batch for batch in batches if batch.request_index is not None]
        newest_first = sorted(known, key=lambda batch: batch.round, reverse=True)
        self._rounds = [_Round(list(group)) for _, group in groupby(newest_first, lambda batch: batch.round)]
        self._requests: dict[BatchKey, SortedRecords] = {}
        self._results: dict[BatchKey, SortedRecords] = {}

    def find(self, row: int) -> Attempt | None:
        """Return the latest attempt at a row, or None if it is in no batch."""
        for one in self._rounds:
            for batch in one.batches_around(row):
                requests = self._open_requests(batch)
                position = requests.find(row, row - batch.first_row)
                if position is not None:
                    return Attempt(batch, requests.at(position), position)
        return None

    def _open_requests(self, batch: Batch) -> SortedRecords:
        key = batch.round, batch.batch
        if key not in self._requests:
            self._requests[key] = self._index.open_requests(batch, self._files)
        return self._requests[key]

    def find_result(self, attempt: Attempt) -> tuple[Any, ...] | None:
        """Return the record of the result of an attempt, or None if its batch is not collected."""
        batch = attempt.batch
        if batch.result_index is None:
            return None
        key = batch.round, batch.batch
        if key not in self._results:
            self._results[key] = self._index.open_results(batch, self._files)
        return self._results[key].at(attempt.position)

    def outcome_of(self, attempt: Attempt) -> str | None:
        """Return the outcome of an attempt, or None if it has none."""
        result = self.find_result(attempt)
        return None if result is None else outcome_name(result[1])

    def find_first(self, row: int) -> tuple[str | None, int, int, int | None, int | None, int, bytes | None]:
        """Return what `RowIndex.row_outcomes` yields of a row that later ones are duplicates of."""
        attempt = self.find(row)
        if attempt is None:
            raise StateError(f"row {row}, whose request later rows have too, is in no batch")
        batch, request, _ = attempt
        outcome, place = None, locate(0, 0)
        if (result := self.find_result(attempt)) is not None:
            outcome, place = outcome_name(result[1]), locate(*result[3:])
        return outcome, batch.round, batch.batch, *place, row, digest_or_none(request[5])

    def find_request(self, row: int) -> tuple[int, int, int, int] | None:
        """Return (round, batch, offset, length) of the latest params of a row, or None if it is not sent.

        They are those of an earlier row if that has the same request.
        """
        attempt = self.find(row)
        if attempt is None and (first := self._find_duplicated(row)):
            attempt = self.find(first)
        if attempt is None:
            return None
        return attempt.batch.round, attempt.batch.batch, attempt.request[1], attempt.request[2]

    def _find_duplicated(self, row: int) -> int:
        """Return the earlier row that has the same request as a row that is in no batch, or 0."""
        if self._unsent is None or (position := self._unsent.find(row, row - 1)) is None:
            return 0
        return int(self._unsent.at(position)[1])
