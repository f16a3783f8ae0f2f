"""Pack requests into batch bodies on disk, limited by count and bytes.

A body is `{"requests":[...]}` with one request per line.
"""

import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

from runner.files.atomic import open_private_file
from runner.requests.custom_id import custom_id_prefix

MAX_SYNC_BYTES = 32_000_000
"""The most bytes of a request that is sent synchronously (platform.claude.com, API errors, 2026-08)."""

_OPEN, _BETWEEN, _CLOSE = b'{"requests":[\n', b",\n", b"\n]}"


_MAX_PENDING_REQUESTS, _MAX_PENDING_BYTES = 64, 8 << 20


@dataclass(frozen=True, slots=True)
class Body:
    """One batch on disk.

    `requests` holds (row, offset, length) of each request's params in the file, in bytes.
    """

    batch: int
    path: Path
    requests: list[tuple[int, int, int]]
    bytes: int
    sha256: str


_REQUEST_LINE = b'{"custom_id":"%b%d","params":%b}'


_MAX_ID_BYTES = 64


def max_params_bytes(max_bytes: int) -> int:
    """Return the maximum size in bytes of one request's params in a body of `max_bytes`."""
    return max_bytes - len(_OPEN) - len(_CLOSE) - len(_REQUEST_LINE % (b"", 0, b"")) - _MAX_ID_BYTES


@dataclass(slots=True)
class _BodyWriter:
    """Writer of one body, which holds back the last requests so that some can move to the next batch.

    A held request is (row, bytes of its params, line in the body).
    """

    file: BinaryIO
    prefix: bytes
    size: int = len(_OPEN) + len(_CLOSE) - len(_BETWEEN)
    count: int = 0
    pending: deque[tuple[int, bytes, bytes]] = field(default_factory=deque)
    pending_bytes: int = 0
    requests: list[tuple[int, int, int]] = field(default_factory=list)
    written: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    def add(self, row: int, params: bytes, max_bytes: int) -> bool:
        """Add a request if the body stays within `max_bytes`; return whether it was added."""
        line = _REQUEST_LINE % (self.prefix, row, params)
        size = self.size + len(line) + len(_BETWEEN)
        if size > max_bytes:
            return False
        self.size = size
        self.count += 1
        self.pending.append((row, params, line))
        self.pending_bytes += len(line)
        while len(self.pending) > _MAX_PENDING_REQUESTS or (
            self.pending_bytes > _MAX_PENDING_BYTES and len(self.pending) > 1
        ):
            self._write_next()
        return True

    def pop_last(self) -> tuple[int, bytes]:
        """Remove and return the last request, which must not be written yet."""
        row, params, line = self.pending.pop()
        self.count -= 1
        self.pending_bytes -= len(line)
        self.size -= len(line) + len(_BETWEEN)
        return row, params

    def _write_bytes(self, data: bytes) -> None:
        self.file.write(data)
        self.digest.update(data)
        self.written += len(data)

    def _write_next(self) -> None:
        row, params, line = self.pending.popleft()
        self.pending_bytes -= len(line)
        self._write_bytes((_BETWEEN if self.requests else _OPEN) + line)
        self.requests.append((row, self.written - len(params) - 1, len(params)))

    def finish(self) -> None:
        """Write the held requests and the end of the body, and make the file durable."""
        while self.pending:
            self._write_next()
        self._write_bytes(_CLOSE)
        self.file.flush()
        os.fsync(self.file.fileno())


def _target_count(max_requests: int, used: set[int]) -> int:
    """Return the largest unused count above half of `max_requests`, or `max_requests` if all are used."""
    free = (count for count in range(max_requests, max_requests // 2, -1) if count not in used)
    return next(free, max_requests)


@dataclass(slots=True)
class _RequestQueue:
    """Remaining requests: first those that a body returned, then those of the source."""

    source: Iterator[tuple[int, bytes]]
    returned: deque[tuple[int, bytes]] = field(default_factory=deque)

    def next_request(self) -> tuple[int, bytes] | None:
        return self.returned.popleft() if self.returned else next(self.source, None)


def _fill_body(
    writer: _BodyWriter, stream: _RequestQueue, used: set[int], max_requests: int, max_bytes: int
) -> None:
    """Write requests until the body is full, then return as many as its count needs to be unique."""
    target = _target_count(max_requests, used)
    while writer.count < target and (request := stream.next_request()):
        if not writer.add(*request, max_bytes):
            if writer.count == 0:
                raise ValueError(f"the request of row {request[0]} does not fit into {max_bytes:,} bytes")
            stream.returned.appendleft(request)
            break
    min_count = max(writer.count - len(writer.pending), writer.count // 2)
    distinct = next((count for count in range(writer.count, min_count, -1) if count not in used), writer.count)
    while writer.count > distinct:
        stream.returned.appendleft(writer.pop_last())
    used.add(writer.count)


def pack_requests(
    requests: Iterable[tuple[int, bytes]],
    *,
    run: str,
    round: int,
    folder: Path,
    max_requests: int,
    max_bytes: int,
    first_number: int = 1,
) -> Iterator[Body]:
    """Write (row, params) pairs to `<round>-<batch>.json` in `folder`; yield each body when durable.

    A body has at most `max_requests` requests and `max_bytes` bytes. Raises ValueError for params that do not
    fit (see `max_params_bytes`). Batches are numbered from `first_number`. Their request counts differ if
    possible, so that a count identifies a batch. Only one body is open at a time, and only its last requests
    are in memory.
    """
    stream, used = _RequestQueue(iter(requests)), set[int]()
    for batch in count(first_number):
        request = stream.next_request()
        if request is None:
            return
        stream.returned.appendleft(request)
        path = folder / f"{round}-{batch}.json"
        with open_private_file(path) as file:
            writer = _BodyWriter(file, custom_id_prefix(run, round, batch).encode())
            _fill_body(writer, stream, used, max_requests, max_bytes)
            writer.finish()
        yield Body(batch, path, writer.requests, writer.written, writer.digest.hexdigest())
