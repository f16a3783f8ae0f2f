"""Rows that a Python program gives: mappings, or a table of pandas, polars or Arrow. They can be read again."""

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import find_spec
from typing import Any, BinaryIO, cast

import msgspec

from runner.errors import InputError, Problem
from runner.sources.json_values import check_column_names, row_to_json
from runner.tabular.arrow_rows import read_arrow_stream
from runner.tabular.parquet import InvalidParquet

GIVEN_PATH = "<rows>"
"""The name of given rows in messages, and among the inputs of a run."""

_CHUNK_ROWS = 1_000
_NO_VALUE = ("NaTType", "NAType")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class GivenRows:
    """Rows as JSON values, the same each time they are read.

    An iterator can be read only once: its rows are copied into a temporary file as they are read. So memory stays
    flat, and a run can look at the first rows, compare all with those of an unfinished run, and read them again.
    """

    def __init__(self, rows: Any) -> None:
        self._source: Callable[[], Iterator[Mapping[str, Any]]] = _choose_reader(rows)
        self._iterator: Iterator[Mapping[str, Any]] | None = rows if isinstance(rows, Iterator) else None
        self._spool: BinaryIO | None = None
        self._read = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield each row. Raises InputError for a row that is no mapping, or a value that JSON cannot express."""
        if self._iterator is not None:
            return self._read_spooled(self._iterator)
        return (_to_json(number, row) for number, row in enumerate(self._source(), 1))

    def close(self) -> None:
        """Delete the copy of an iterator's rows."""
        if self._spool is not None:
            self._spool.close()

    def digest(self) -> str:
        """Return the SHA-256 of all rows."""
        sha256 = hashlib.sha256()
        for row in self:
            sha256.update(_encode(row))
        return sha256.hexdigest()

    def _read_spooled(self, iterator: Iterator[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        if self._spool is None:
            self._spool = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - it lives as long as the rows
        spool = self._spool
        offset = number = 0
        while True:
            if number < self._read:
                spool.seek(offset)
                line = spool.readline()
                row = _decode(line)
            else:
                try:
                    row = _to_json(number + 1, next(iterator))
                except StopIteration:
                    return
                line = _encode(row) + b"\n"
                spool.seek(0, 2)
                spool.write(line)
                self._read += 1
            offset, number = offset + len(line), number + 1
            yield row


def _choose_reader(rows: Any) -> Callable[[], Iterator[Mapping[str, Any]]]:
    """Return a function that reads a table or another iterable of rows. Raises InputError if it is neither."""
    if hasattr(rows, "iloc") and hasattr(rows, "to_dict"):
        return lambda: _read_table(_read_pandas(rows))
    if hasattr(rows, "__arrow_c_stream__") and find_spec("pyarrow") is not None:
        return lambda: _read_table(read_arrow_stream(rows))
    if hasattr(rows, "iter_rows"):
        return lambda: _read_table(rows.iter_rows(named=True))
    if isinstance(rows, str | bytes | Mapping) or not isinstance(rows, Iterable):
        kind = type(rows).__name__
        message = f"expected mappings, one per row, or a table of pandas, polars or Arrow, not a {kind}"
        raise InputError([Problem(GIVEN_PATH, message)])
    return lambda: iter(rows)


def _read_table(rows: Iterator[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a table. Raises InputError for a value that cannot be read, such as a date of 10000."""
    count = 0
    try:
        for row in rows:
            yield row
            count += 1
    except (ValueError, OverflowError) as error:
        number = count + (error.row or 1 if isinstance(error, InvalidParquet) else 1)
        raise InputError([Problem(GIVEN_PATH, f"row {number} cannot be read: {error}", number)]) from error


def _read_pandas(frame: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a data frame: through Arrow if possible, which keeps the types of columns with nulls."""
    if hasattr(frame, "__arrow_c_stream__") and find_spec("pyarrow") is not None:
        try:
            rows = read_arrow_stream(frame)
            first = next(rows, None)
        except ValueError:
            pass  # A column holds values of several types.
        else:
            if first is not None:
                yield first
                yield from rows
            return
    for start in range(0, len(frame), _CHUNK_ROWS):
        yield from frame.iloc[start : start + _CHUNK_ROWS].to_dict("records")


def _to_plain(value: Any) -> Any:
    """Return a value without the types of numpy and pandas."""
    if value is None or isinstance(value, str | int):
        return value
    if type(value).__name__ in _NO_VALUE:
        return None
    if type(value).__module__ == "numpy":
        return value.tolist()
    return value


def _to_json(number: int, row: Any) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        message = f"row {number} must be a mapping, not a {type(row).__name__}"
        raise InputError([Problem(GIVEN_PATH, message, number)])
    try:
        names = check_column_names(list(row), f"row {number}")
        return row_to_json(names, [_to_plain(value) for value in row.values()])
    except ValueError as error:
        raise InputError([Problem(GIVEN_PATH, str(error), number)]) from error
