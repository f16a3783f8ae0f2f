"""The rows of all runs: where the request and the result of each are, its outcome, and its latest attempt.

All of it is in the index files of the runs. The latest attempt at a row is in the newest batch that has it.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import cache, partial
from itertools import accumulate, chain
from typing import Any, NamedTuple

from runner.errors import StateError
from runner.store.index.batch_index import BatchIndex, Outcome, Request, RunIndexes, locate, read_outcome, size_of
from runner.store.index.index_files import (
    DUPLICATE,
    OUTCOME_CODES,
    UNSENT,
    IndexFile,
    SortedRecords,
    digest_or_none,
    find_index,
    outcome_name,
    read_records,
    write_index,
)
from runner.store.index.latest_attempts import Attempts, merge_latest
from runner.store.index.row_finder import RowFinder
from runner.store.records import Batch, Run
from runner.store.run_folder import FileSlices, open_slices
from runner.store.temporary.digest_index import DigestIndex

RETRY_ALWAYS = 2
"""Value of `rows_to_retry` for a row that is sent again however many attempts it has had."""

_SUCCEEDED = OUTCOME_CODES["succeeded"]
_ANSWERED = (_SUCCEEDED, OUTCOME_CODES["invalid"])
_NO_OUTCOME = Outcome(0, None, 0, None, None)

RowOutcome = tuple[int, str | None, int, int, int | None, int | None, int, bytes | None]
"""A row: its number, outcome, round, batch, offset, length, row in the results, and digest."""


class Answer(NamedTuple):
    """An answer: the digest of its request, whether it was valid, and where both are; places are bytes."""

    digest: bytes
    is_valid: bool
    round: int
    batch: int
    offset: int
    length: int
    body_offset: int
    body_length: int


class RowIndex(BatchIndex):
    """The rows of all runs of a project. `list_batches` is called with the number of a run."""

    def __init__(
        self, list_batches: Callable[[int], Sequence[Batch]], find_indexes: Callable[[int], RunIndexes]
    ) -> None:
        super().__init__(find_indexes)
        self._list_batches = list_batches

    def batches_of(self, run: Run) -> Sequence[Batch]:
        """Return all batches of a run, ordered by round and batch."""
        return self._list_batches(run.number)

    def request_sizes(self, run: Run) -> Iterator[int]:
        """Return the size of each request of a prepared run: its bytes, corrected for attachments."""
        return (size_of(request) for batch in self.batches_of(run) for request in self.requests(batch))

    def largest_request_bytes(self, run: Run) -> int:
        """Return the bytes of the largest request of a prepared run, or 0."""
        return max(map(self.largest_request_of, self.batches_of(run)), default=0)

    def requests_at(self, run: Run, indexes: Iterable[int]) -> Iterator[tuple[int, int, int, int, int]]:
        """Yield (row, batch, offset, length, size) of the requests at these places in a prepared run, from 0."""
        batches = sorted(self.batches_of(run), key=lambda batch: batch.first_row)
        ends = list(accumulate(batch.requests for batch in batches))
        with open_slices() as files:
            for place in indexes:
                number = bisect_right(ends, place)
                if number < len(batches):
                    batch = batches[number]
                    request = self.open_requests(batch, files).at(place - ends[number] + batch.requests)
                    yield request[0], batch.batch, request[1], request[2], request[3] + request[4]

    def has_common_requests(self, run: Run, other: Run) -> bool:
        """Return whether another run has requests of this one that are not answered yet."""
        unanswered = (batch for batch in self.batches_of(run) if batch.result_index is None)
        with closing(DigestIndex()) as own:
            for request in chain.from_iterable(map(self.requests, unanswered)):
                if any(request[5]):
                    own.setdefault(request[5], request[0])
            sent = chain.from_iterable(map(self.requests, self._list_batches(other.number)))
            digests = chain((request[5] for request in sent), (record[5] for record in self.unsent_rows(other)))
            return any(any(digest) and digest in own for digest in digests)

    def unsent_rows(self, run: Run) -> Iterator[tuple[Any, ...]]:
        """Yield the records of the rows of a run that are in no batch; see `index_files`."""
        index = self._unsent_index(run.number)
        return iter(()) if index is None else read_records(index, UNSENT)

    def _unsent_index(self, run: int) -> IndexFile | None:
        folder, sha256, _ = self._find_indexes(run)
        return None if sha256 is None else find_index(folder, "unsent", sha256)

    def correct_unsent_rows(self, run: Run, outcomes: Mapping[int, str]) -> str:
        """Write the index of the rows that are in no batch again with these outcomes, and return its SHA-256."""
        records = (
            UNSENT.pack(*one[:2], OUTCOME_CODES[outcomes[one[0]]] if one[0] in outcomes else one[2], *one[3:])
            for one in self.unsent_rows(run)
        )
        return write_index(self._find_indexes(run.number).folder, "unsent", records)

    def count_duplicates(self, run: int, rows: Sequence[int]) -> dict[int, int]:
        """Return how many later rows have the same request as each of these, ascending, where any has."""
        folder, _, sha256 = self._find_indexes(run)
        if sha256 is None or not rows:
            return {}
        index = find_index(folder, "duplicates", sha256)
        wanted = set(rows)
        with open_slices() as files:
            between = SortedRecords(index, DUPLICATE, files).between(rows[0], rows[-1])
            return {row: later for row, later in between if row in wanted}

    def row_outcomes(self, run: Run) -> Iterator[RowOutcome]:
        """Yield every row in order: (row, outcome, round, batch, offset, length, row in the results, digest).

        Offset and length locate its line in the results, in bytes. The row in the results differs from the first
        if an earlier row has the same request; the digest is then that of the earlier row.
        """
        unsent = Attempts(None, 0, partial(self.unsent_rows, run))
        with self.open_finder(run) as finder:
            for batch, found in merge_latest([unsent, *self._list_attempts(run)]):
                if batch is not None:
                    row, request, result = found
                    _, outcome, _, *place = _NO_OUTCOME if result is None else read_outcome(result)
                    yield row, outcome, batch.round, batch.batch, *place, row, digest_or_none(request[5])
                    continue
                row, first, code, offset, length, digest = found
                if first:
                    yield row, *finder.find_first(first)
                else:
                    yield row, outcome_name(code), 0, 0, *locate(offset, length), row, digest_or_none(digest)

    def read_answers(self, run: Run) -> Iterator[Answer]:
        """Yield the answers that the requests of a run have, valid or not, each with the digest of its request."""
        for batch, (_, request, result) in merge_latest(self._list_attempts(run)):
            if batch is not None and result is not None and result[1] in _ANSWERED and any(request[5]):
                is_valid = result[1] == _SUCCEEDED
                yield Answer(request[5], is_valid, batch.round, batch.batch, *result[3:], *request[1:3])
        for _, first, code, offset, length, digest in self.unsent_rows(run):
            if not first and length and code in _ANSWERED and any(digest):
                yield Answer(digest, code == _SUCCEEDED, 0, 0, offset, length, 0, 0)

    def _list_attempts(self, run: Run) -> list[Attempts]:
        """Return the attempts at the rows of all batches, as (row, request, result or None)."""
        batches = self.batches_of(run)
        return [Attempts(batch, batch.first_row, partial(self._read_pairs, batch)) for batch in batches]

    def _read_pairs(self, batch: Batch) -> Iterator[tuple[int, Request, tuple[Any, ...] | None]]:
        if batch.result_index is None:
            yield from ((request[0], request, None) for request in self.requests(batch))
            return
        for request, result in zip(self.requests(batch), self.results(batch), strict=True):
            if request[0] != result[0]:
                raise StateError(f"the index files of batch {batch.round}-{batch.batch} have different rows")
            yield request[0], request, result

    def rows_to_retry(
        self, run: Run, *, min_retry: int = 1
    ) -> Iterator[tuple[int, int, int, int, int, int | None, int | None]]:
        """Yield the rows to send again, ascending; `min_retry` 2 selects those sent whatever their attempts.

        Each is (row, round, batch, offset, length) of its latest params, then the offset and length of its line in
        the results of that batch.
        """
        batches = list(self.batches_of(run))
        first = next((place for place, batch in enumerate(batches) if batch.retries), len(batches))
        with open_slices() as files:
            # Opening one costs a query.
            open_requests = cache(partial(self.open_requests, files=files))
            for batch, record in self._merge_results(batches[first:]):
                if batch.result_index is None or record[2] < min_retry:
                    continue
                row, _, _, offset, length = record
                requests = open_requests(batch)
                position = requests.find(row, row - batch.first_row)
                if position is None:
                    raise StateError(
                        f"row {row} has a result in batch {batch.round}-{batch.batch}, but no request"
                    )
                request = requests.at(position)
                yield row, batch.round, batch.batch, request[1], request[2], *locate(offset, length)

    def _merge_results(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, tuple[Any, ...]]]:
        """Yield the latest of each row: a record of `results`, or of `requests` if its batch is not collected."""
        attempts = [
            Attempts(
                batch,
                batch.first_row,
                partial(self.requests if batch.result_index is None else self.results, batch),
            )
            for batch in batches
        ]
        return ((batch, record) for batch, record in merge_latest(attempts) if batch is not None)

    def outcomes_of_round(self, run: Run, round: int) -> dict[str, int]:
        """Return the number of rows per outcome, of the rows whose latest attempt is in a collected round."""
        counts: dict[str, int] = {}
        for _, outcome in self._latest_of_round(run, round):
            if outcome.name is not None:
                counts[outcome.name] = counts.get(outcome.name, 0) + 1
        return counts

    def results_of_round(
        self, run: Run, round: int, outcomes: Sequence[str]
    ) -> Iterator[tuple[int, int, int, int]]:
        """Yield (row, batch, offset, length) of the results of a round with these outcomes, by row."""
        for batch, (row, name, _, offset, length) in self._latest_of_round(run, round):
            if name in outcomes and offset is not None and length is not None:
                yield row, batch.batch, offset, length

    def _latest_of_round(self, run: Run, round: int) -> Iterator[tuple[Batch, Outcome]]:
        batches = (batch for batch in self.batches_of(run) if batch.round == round)
        for batch, record in self._merge_results(batches):
            if batch.result_index is not None:
                yield batch, read_outcome(record)

    @contextmanager
    def open_finder(self, run: Run) -> Iterator[RowFinder]:
        """Yield a finder of single rows of a run, as the run is now."""
        with open_slices() as files:
            yield self.make_finder(run, files)

    def make_finder(self, run: Run, files: FileSlices) -> RowFinder:
        """Return a finder of single rows of a run that reads through `files`."""
        index = self._unsent_index(run.number)
        unsent = None if index is None else SortedRecords(index, UNSENT, files)
        return RowFinder(self, self.batches_of(run), unsent, files)
