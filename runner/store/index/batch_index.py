"""The index files of one batch: where each of its requests and results is."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from runner.errors import StateError
from runner.requests.pack import Body
from runner.store.index.index_files import (
    NO_DIGEST,
    OUTCOME_CODES,
    REQUEST,
    RESULT,
    IndexFile,
    SortedRecords,
    find_index,
    outcome_name,
    read_records,
    write_index,
)
from runner.store.records import Batch
from runner.store.run_folder import FileSlices, RunFolder

Request = tuple[int, int, int, int, int, bytes]
"""A record of `requests`: row, offset, length, length as sent, size adjustment, digest."""


class Outcome(NamedTuple):
    """The outcome of a row, None if it has none; `offset` and `length` locate its line in the results, if any.

    `retry` is 0 for a final outcome, 1 if the row is sent again, and 2 if that holds whatever its attempts.
    """

    row: int
    name: str | None
    retry: int
    offset: int | None
    length: int | None


class RunIndexes(NamedTuple):
    """The folder of a run, and the digests of its index files of rows that are in no batch."""

    folder: RunFolder
    unsent: str | None
    duplicates: str | None


def size_of(request: Request) -> int:
    """Return the size of a request: its bytes as they are sent, corrected for attachments."""
    return request[3] + request[4]


def read_outcome(record: tuple[Any, ...]) -> Outcome:
    """Return the outcome in a record of `results`."""
    row, code, retry, offset, length = record
    return Outcome(row, outcome_name(code), retry, *locate(offset, length))


def locate(offset: int, length: int) -> tuple[int, int] | tuple[None, None]:
    """Return the place of a line; a length of 0 stands for no line, whose offset and length are None."""
    return (offset, length) if length else (None, None)


class BatchIndex:
    """The requests and results of batches, by row. `find_indexes` is called with the number of a run."""

    def __init__(self, find_indexes: Callable[[int], RunIndexes]) -> None:
        self._find_indexes = find_indexes

    def write_requests(
        self, run: int, round: int, body: Body, digests: Mapping[int, bytes], adjustments: Mapping[int, int]
    ) -> str:
        """Write the index of the requests of a body durably, and return its SHA-256."""
        sent = body.sent_lengths
        records = (
            REQUEST.pack(
                row, offset, length, sent.get(row, length), adjustments.get(row, 0), digests.get(row) or NO_DIGEST
            )
            for row, offset, length in sorted(body.requests)
        )
        return write_index(self._find_indexes(run).folder, f"{round}-{body.batch}.requests", records)

    def write_results(self, batch: Batch, outcomes: Iterable[Outcome]) -> str:
        """Write the index of the results of a batch durably, and return its SHA-256; `outcomes` are sorted."""
        records = (
            RESULT.pack(row, OUTCOME_CODES[name], retry, offset or 0, length or 0)
            for row, name, retry, offset, length in outcomes
        )
        folder = self._find_indexes(batch.run).folder
        return write_index(folder, f"{batch.round}-{batch.batch}.results", records)

    def requests(self, batch: Batch) -> Iterator[Request]:
        """Yield the requests of a batch, by row. Raises StateError if their index file is damaged."""
        index = self._index_of(batch, "requests")
        return iter(()) if index is None else read_records(index, REQUEST)

    def results(self, batch: Batch) -> Iterator[tuple[Any, ...]]:
        """Yield the records of the results of a collected batch; see `read_outcome`."""
        index = self._index_of(batch, "results")
        return iter(()) if index is None else read_records(index, RESULT)

    def open_requests(self, batch: Batch, files: FileSlices) -> SortedRecords:
        """Return the requests of a batch for access to single ones. Raises StateError if they are deleted."""
        return self._open(batch, "requests", files)

    def open_results(self, batch: Batch, files: FileSlices) -> SortedRecords:
        """Return the results of a batch for access to single ones. Raises StateError if they are deleted."""
        return self._open(batch, "results", files)

    def _open(self, batch: Batch, kind: str, files: FileSlices) -> SortedRecords:
        index = self._index_of(batch, kind)
        if index is None:
            raise StateError(f"the {kind} of batch {batch.round}-{batch.batch} are deleted")
        return SortedRecords(index, REQUEST if kind == "requests" else RESULT, files)

    def _index_of(self, batch: Batch, kind: str) -> IndexFile | None:
        sha256 = batch.request_index if kind == "requests" else batch.result_index
        if sha256 is None:
            return None
        return find_index(self._find_indexes(batch.run).folder, f"{batch.round}-{batch.batch}.{kind}", sha256)

    def rows_of(self, batch: Batch) -> list[int]:
        """Return the numbers of the rows of a batch, ascending."""
        return [request[0] for request in self.requests(batch)]

    def requests_of(self, batch: Batch) -> list[tuple[int, int, int]]:
        """Return (row, offset, length) of the params of each row in `rows_of`."""
        return [request[:3] for request in self.requests(batch)]

    def request_sizes_of(self, batch: Batch) -> list[int]:
        """Return the size of each request of a batch, in the order of `requests_of`."""
        return [size_of(request) for request in self.requests(batch)]

    def largest_request_of(self, batch: Batch) -> int:
        """Return the bytes of the largest request of a batch, or 0."""
        return max((request[3] for request in self.requests(batch)), default=0)

    def results_of(self, batch: Batch) -> list[tuple[int, int, int]]:
        """Return (row, offset, length) of the result of each row in `rows_of` that has one."""
        return [(row, offset, length) for row, _, _, offset, length in self.results(batch) if length]

    def outcomes_of(self, batch: Batch) -> list[Outcome]:
        """Return the outcome of each row of a collected batch, by row."""
        return list(map(read_outcome, self.results(batch)))
