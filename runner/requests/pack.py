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
from runner.requests.stored_params import Params

MAX_SYNC_BYTES = 32_000_000
"""The most bytes of a request that is sent synchronously (platform.claude.com, API errors, 2026-08)."""

_OPEN, _BETWEEN, _CLOSE = b'{"requests":[\n', b",\n", b"\n]}"


_MAX_PENDING_REQUESTS, _MAX_PENDING_BYTES = 64, 8 << 20


@dataclass(frozen=True, slots=True)
class Body:
    """One batch on disk.

    `requests` holds (row, offset, length) of each request's params in the file, in bytes. `bytes` and `sha256` are
    those of what is sent. `sent_lengths` holds the lengths of params as they are sent, by row, where they differ.
    """

    batch: int
    path: Path
    requests: list[tuple[int, int, int]]
    bytes: int
    sha256: str
    sent_lengths: dict[int, int] = field(default_factory=dict)


_REQUEST_LINE = b'{"custom_id":"%b%d","params":%b}'


_LINE_BYTES = len(_REQUEST_LINE % (b"", 0, b"")) - 1 + len(_BETWEEN)
"""Bytes of a line besides its params and custom_id."""


_MAX_ID_BYTES = 64


def max_params_bytes(max_bytes: int) -> int:
    """Return the maximum size in bytes of one request's params in a body of `max_bytes`."""
    return max_bytes - len(_OPEN) - len(_CLOSE) - len(_REQUEST_LINE % (b"", 0, b"")) - _MAX_ID_BYTES


@dataclass(slots=True)
class _BodyWriter:
    """Writer of one body, which holds back the last requests so that some can move to the next batch.

    A held request is (row, its params).
    """

    file: BinaryIO
    prefix: bytes
    size: int = len(_OPEN) + len(_CLOSE) - len(_BETWEEN)
    count: int = 0
    pending: deque[tuple[int, Params]] = field(default_factory=deque)
    pending_bytes: int = 0
    requests: list[tuple[int, int, int]] = field(default_factory=list)
    sent_lengths: dict[int, int] = field(default_factory=dict)
    written: int = 0
    sent: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    def add(self, row: int, params: Params, max_bytes: int) -> bool:
        """Add a request if the body stays within `max_bytes`; return whether it was added."""
        size = self.size + self._line_bytes(row, params)
        if size > max_bytes:
            return False
        self.size = size
        self.count += 1
        self.pending.append((row, params))
        self.pending_bytes += len(params.sent)
        while len(self.pending) > _MAX_PENDING_REQUESTS or (
            self.pending_bytes > _MAX_PENDING_BYTES and len(self.pending) > 1
        ):
            self._write_next()
        return True

    def pop_last(self) -> tuple[int, Params]:
        """Remove and return the last request, which must not be written yet."""
        row, params = self.pending.pop()
        self.count -= 1
        self.pending_bytes -= len(params.sent)
        self.size -= self._line_bytes(row, params)
        return row, params

    def _line_bytes(self, row: int, params: Params) -> int:
        return len(self.prefix) + len(str(row)) + len(params.sent) + _LINE_BYTES

    def _write_bytes(self, sent: bytes, stored: bytes) -> None:
        self.digest.update(sent)
        self.sent += len(sent)
        self.file.write(stored)
        self.written += len(stored)

    def _write_next(self) -> None:
        row, (sent, stored) = self.pending.popleft()
        self.pending_bytes -= len(sent)
        before = _BETWEEN if self.requests else _OPEN
        line = stored_line = before + _REQUEST_LINE % (self.prefix, row, sent)
        if stored is not sent:
            stored_line = before + _REQUEST_LINE % (self.prefix, row, stored)
            self.sent_lengths[row] = len(sent)
        self._write_bytes(line, stored_line)
        self.requests.append((row, self.written - len(stored) - 1, len(stored)))

    def finish(self) -> None:
        """Write the held requests and the end of the body, and make the file durable."""
        while self.pending:
            self._write_next()
        self._write_bytes(_CLOSE, _CLOSE)
        self.file.flush()
        os.fsync(self.file.fileno())


def _target_count(max_requests: int, used: set[int]) -> int:
    """Return the largest unused count above half of `max_requests`, or `max_requests` if all are used."""
    free = (count for count in range(max_requests, max_requests // 2, -1) if count not in used)
    return next(free, max_requests)


@dataclass(slots=True)
class _RequestQueue:
    """Remaining requests: first those that a body returned, then those of the source."""

    source: Iterator[tuple[int, Params]]
    returned: deque[tuple[int, Params]] = field(default_factory=deque)

    def next_request(self) -> tuple[int, Params] | None:
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
    requests: Iterable[tuple[int, Params]],
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
        yield Body(batch, path, writer.requests, writer.sent, writer.digest.hexdigest(), writer.sent_lengths)
