"""Rows of a run as they were read from the source, looked up in ascending order."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import msgspec

from runner.errors import StateError
from runner.runs.context import RunContext


class _Row(msgspec.Struct):
    row: dict[str, Any]


_decode_row = msgspec.json.Decoder(_Row).decode


class RowReader:
    """A single pass over the rows; row numbers must be requested in ascending order."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._number = 0

    def read_line(self, number: int) -> bytes:
        """Return the line of a row; it is empty if the row is missing."""
        line = b""
        while self._number < number:
            line = self._file.readline()
            self._number += 1
        return line

    def decode(self, number: int, line: bytes) -> dict[str, Any]:
        """Return the fields in the line of a row. Raises StateError if the row is missing or damaged."""
        try:
            return _decode_row(line).row
        except msgspec.DecodeError as error:
            raise StateError(f"{self._file.name}: row {number} is damaged: {error}") from error

    def read_fields(self, number: int) -> dict[str, Any]:
        """Return the fields of a row. Raises StateError if the row is missing or damaged."""
        return self.decode(number, self.read_line(number))


@contextmanager
def open_row_reader(context: RunContext) -> Iterator[RowReader]:
    """Open the rows of a run."""
    with context.store.folder(context.run).rows.open("rb") as file:
        yield RowReader(file)
