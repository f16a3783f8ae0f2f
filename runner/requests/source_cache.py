"""Keep the encoded sources of files that many rows attach: the last ones in memory, costly ones also on disk."""

import tempfile
import weakref
from collections.abc import Hashable
from typing import IO, NamedTuple

from runner.requests.attachment_totals import AttachmentTotals
from runner.requests.stored_params import Params, plain_params

_MAX_MEMORY_BYTES, _MAX_DISK_BYTES, _ENTRY_BYTES, _MAX_NOTED = 8_000_000, 2_000_000_000, 1_000, 50_000


class EncodedSource(NamedTuple):
    """The JSON of a file's source, its totals, and the problem if it cannot be sent.

    `source` is kept on disk with a reference for the content of the file, if that is sent as it is. It `is_costly`
    if it was converted, so that reading the file again is not all that must be repeated.
    """

    source: Params
    totals: AttachmentTotals
    problem: str | None = None
    is_costly: bool = False

    @property
    def memory_bytes(self) -> int:
        """The approximate memory of this entry, in bytes."""
        return len(self.source.sent) + _ENTRY_BYTES


class SourceCache:
    """A cache of encoded sources.

    The least recently used ones leave the memory. A costly one that had to be made a second time is then moved to
    an unnamed file in the folder for temporary files, so it is not made a third time. Files that one row attaches
    never get there.
    """

    def __init__(self) -> None:
        self._memory: dict[Hashable, EncodedSource] = {}
        self._memory_bytes = 0
        self._left_once: dict[int, None] = {}
        self._on_disk: dict[Hashable, tuple[int, EncodedSource, int]] = {}
        self._disk_bytes = 0
        self._file: IO[bytes] | None = None

    def find(self, key: Hashable) -> EncodedSource | None:
        """Return a source that is kept, or None."""
        if (found := self._memory.pop(key, None)) is not None:
            self._memory[key] = found
            return found
        if (place := self._on_disk.get(key)) is None or self._file is None:
            return None
        offset, entry, size = place
        self._file.seek(offset)
        return entry._replace(source=plain_params(self._file.read(size)))

    def add(self, key: Hashable, entry: EncodedSource) -> None:
        """Keep a source."""
        self._memory[key] = entry
        self._memory_bytes += entry.memory_bytes
        while self._memory_bytes > _MAX_MEMORY_BYTES:
            oldest = next(iter(self._memory))
            leaving = self._memory.pop(oldest)
            self._memory_bytes -= leaving.memory_bytes
            if leaving.is_costly:
                self._leave(oldest, leaving)

    def _leave(self, key: Hashable, entry: EncodedSource) -> None:
        if hash(key) in self._left_once:
            self._write(key, entry)
            return
        self._left_once[hash(key)] = None
        if len(self._left_once) > _MAX_NOTED:
            del self._left_once[next(iter(self._left_once))]

    def _write(self, key: Hashable, entry: EncodedSource) -> None:
        """Write a source to disk, if there is space: it can be made again."""
        offset, size = self._disk_bytes, len(entry.source.sent)
        if offset + size > _MAX_DISK_BYTES:
            return
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - open while the cache is
                weakref.finalize(self, self._file.close)
            self._file.seek(offset)
            if self._file.write(entry.source.sent) < size:
                return
        except OSError:
            return
        self._disk_bytes += size
        self._on_disk[key] = (offset, entry._replace(source=plain_params(b"")), size)
