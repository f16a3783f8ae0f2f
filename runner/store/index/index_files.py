"""Index files: where the request and the result of each row of a run are.

They lie beside the bodies and results, which hold the payloads. A file is written once and never changed: its name
ends with its digest, which the database has too. So a file that replaces another one is complete before the
database names it, and one that nothing names does no harm. It is a sequence of records of one form, by ascending
row, little-endian and without padding:

- `requests`, for each batch: row, offset, length, length as sent, size adjustment, digest (36 bytes)
- `results`, for each collected batch: row, outcome, retry, offset, length (18 bytes)
- `unsent`, for the rows that are in no batch: row, earlier row, outcome, offset, length, digest (37 bytes)
- `duplicates`: earlier row, number of later rows with the same request (8 bytes)

Offsets and lengths are bytes. A length of 0 stands for no result, and an outcome, an earlier row or a digest of
zeros for none.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from struct import Struct
from typing import Any, NamedTuple

from runner.errors import StateError
from runner.files.atomic import atomic_write
from runner.store.run_folder import FileSlices, RunFolder

REQUEST = Struct("<IIIIi16s")
RESULT = Struct("<IBBQI")
UNSENT = Struct("<IIBQI16s")
DUPLICATE = Struct("<II")

NO_DIGEST = bytes(16)
"""The digest in a record that stands for none."""

_ROW = Struct("<I")
_CODES = (
    None, "succeeded", "invalid", "truncated", "refused", "errored", "expired", "canceled", "missing", "rejected"
)  # fmt: skip
"""Outcomes by their number in a record. A new one goes to the end."""

OUTCOME_CODES = {name: code for code, name in enumerate(_CODES)}
"""The number of each outcome in a record."""

_CHUNK_RECORDS = 16_384


class IndexFile(NamedTuple):
    """An index file by its path and its SHA-256."""

    path: Path
    sha256: str


def index_name(name: str, sha256: str) -> str:
    """Return the name of the file of an index with this SHA-256."""
    return f"{name}.{sha256[:16]}"


def find_index(folder: RunFolder, name: str, sha256: str) -> IndexFile:
    """Return the index file of this name and SHA-256."""
    return IndexFile(folder.index(index_name(name, sha256)), sha256)


def outcome_name(code: int) -> str | None:
    """Return an outcome by its number in a record. Raises StateError for a number that none has."""
    if code >= len(_CODES):
        raise StateError(f"an index file has the outcome {code}, which there is not: it is damaged")
    return _CODES[code]


def digest_or_none(digest: bytes) -> bytes | None:
    """Return the digest in a record, or None if it stands for none."""
    return digest if any(digest) else None


def write_index(folder: RunFolder, name: str, records: Iterable[bytes]) -> str:
    """Write an index file durably and return its SHA-256."""
    data = b"".join(records)
    sha256 = hashlib.sha256(data).hexdigest()
    with atomic_write(find_index(folder.to_write, name, sha256).path, private=True) as file:
        file.write(data)
    return sha256


def read_records(index: IndexFile, form: Struct) -> Iterator[tuple[Any, ...]]:
    """Yield the records of an index file. Raises StateError if it is missing or not what was written.

    A change shows only after the last record, so nothing may be made of the first ones before.
    """
    sha256 = hashlib.sha256()
    try:
        with index.path.open("rb") as file:
            while block := file.read(form.size * _CHUNK_RECORDS):
                sha256.update(block)
                if len(block) % form.size:
                    break
                yield from form.iter_unpack(block)
    except OSError as error:
        raise StateError(f"{index.path} cannot be read: {error.strerror}") from error
    if sha256.hexdigest() != index.sha256:
        raise StateError(f"{index.path} differs from what was written")


def load_records(index: IndexFile, form: Struct) -> list[tuple[Any, ...]]:
    """Return all records of an index file. Raises StateError if it is missing or not what was written."""
    return list(read_records(index, form))


class SortedRecords:
    """Access to single records of an index file, by row; it is not compared with its digest."""

    def __init__(self, index: IndexFile, form: Struct, files: FileSlices) -> None:
        self._path, self._form, self._files = index.path, form, files
        try:
            self._count = index.path.stat().st_size // form.size
        except OSError as error:
            raise StateError(f"{index.path} cannot be read: {error.strerror}") from error

    def at(self, position: int) -> tuple[Any, ...]:
        """Return the record at a position, from 0."""
        size = self._form.size
        return self._form.unpack(self._read(position * size, size))

    def find(self, row: int, guess: int) -> int | None:
        """Return the position of the record of a row, or None; `guess` is looked at first."""
        if 0 <= guess < self._count and self._row_at(guess) == row:
            return guess
        position = self._first_at_least(row)
        return position if position < self._count and self._row_at(position) == row else None

    def between(self, first: int, last: int) -> Iterator[tuple[Any, ...]]:
        """Yield the records of the rows from `first` to `last`."""
        for position in range(self._first_at_least(first), self._count):
            record = self.at(position)
            if record[0] > last:
                return
            yield record

    def _first_at_least(self, row: int) -> int:
        low, high = 0, self._count
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self._row_at(middle) < row else (low, middle)
        return low

    def _row_at(self, position: int) -> int:
        return int(_ROW.unpack(self._read(position * self._form.size, _ROW.size))[0])

    def _read(self, offset: int, length: int) -> bytes:
        try:
            found = self._files.read(self._path, offset, length)
        except OSError as error:
            raise StateError(f"{self._path} cannot be read: {error.strerror}") from error
        if len(found) != length:
            raise StateError(f"{self._path} is shorter than what was written")
        return found
