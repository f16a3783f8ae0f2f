"""Rows of a run as they were read from the source, looked up in ascending order."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import msgspec

from runner.errors import StateError
from runner.lifecycle.job import Job


class _Row(msgspec.Struct):
    row: dict[str, Any]


_decode = msgspec.json.Decoder(_Row).decode


class Rows:
    """A single pass over the rows; row numbers must be requested in ascending order."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._number = 0

    def fields(self, number: int) -> dict[str, Any]:
        """Return the fields of a row. Raises StateError if the row is missing or damaged."""
        line = b""
        while self._number < number:
            line = self._file.readline()
            self._number += 1
        try:
            return _decode(line).row
        except msgspec.DecodeError as error:
            raise StateError(f"{self._file.name}: row {number} is damaged: {error}") from error


@contextmanager
def rows_of(job: Job) -> Iterator[Rows]:
    """Open the rows of a run."""
    with job.store.folder(job.run).rows.open("rb") as file:
        yield Rows(file)
