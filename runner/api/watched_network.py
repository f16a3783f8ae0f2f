"""Sockets and bodies that keep to the limits of the call that uses them.

Read in short slices, because a blocked read hears no signal, and because a byte now and then would end no timeout.
"""

import select
import time
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import httpcore2
import httpx2

from runner.api.limits import LimitReached, Watch, current_watch
from runner.store.lock import read_clock

_SLICE_SECONDS = 0.25
# Within a block too: the process may have been suspended, or the connection slow.
_STILL_SECONDS = 0.5
_BLOCK_BYTES = 1 << 18
_PIECE_BYTES = 1 << 14
_GZIP_OR_ZLIB = 47


class _Stream:
    """A connection whose reads and writes end at the limits of the current call."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        ends_at = time.monotonic() + (86_400 if timeout is None else timeout)
        while True:
            _check_receiving(current_watch())
            left = ends_at - time.monotonic()
            try:
                data: bytes = self._inner.read(max_bytes, timeout=max(min(left, _SLICE_SECONDS), 0.001))
            except httpcore2.ReadTimeout:
                if left <= 0:
                    raise
                continue
            return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        view, watch, confirmed_at = memoryview(buffer), current_watch(), 0.0
        for start in range(0, len(view), _PIECE_BYTES):
            piece = view[start : start + _PIECE_BYTES]
            self._wait_until_writable(watch)
            is_late = read_clock() - confirmed_at > _STILL_SECONDS
            # Here and not while the body is read: a body that is signed is read as a whole before.
            if watch is not None and (start % _BLOCK_BYTES == 0 or is_late):
                watch.confirm()
                confirmed_at = read_clock()
            self._inner.write(piece, timeout=timeout)
            if watch is not None:
                watch.count_sent(len(piece))

    def _wait_until_writable(self, watch: Watch | None) -> None:
        """Wait in slices, because a write that was cut off by a timeout cannot be continued."""
        poll = select.poll()
        poll.register(self._inner.get_extra_info("socket"), select.POLLOUT)
        while watch is not None:
            try:
                watch.check_sending()
            except LimitReached as error:
                raise httpcore2.WriteTimeout(str(error)) from error
            if poll.poll(_SLICE_SECONDS * 1000):
                return

    def start_tls(self, *args: Any, **kwargs: Any) -> "_Stream":
        return _Stream(self._inner.start_tls(*args, **kwargs))

    def close(self) -> None:
        self._inner.close()

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _check_receiving(watch: Watch | None) -> None:
    """Raise the error of a read that took too long, if the call reached a limit."""
    try:
        if watch is not None:
            watch.check_receiving()
    except LimitReached as error:
        raise httpcore2.ReadTimeout(str(error)) from error


class _Backend:
    """A network whose connections are watched."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def connect_tcp(self, *args: Any, **kwargs: Any) -> _Stream:
        return _Stream(self._inner.connect_tcp(*args, **kwargs))

    def connect_unix_socket(self, *args: Any, **kwargs: Any) -> _Stream:
        return _Stream(self._inner.connect_unix_socket(*args, **kwargs))

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _Body(httpx2.SyncByteStream):
    """The body of a response, decompressed a block at a time and counted."""

    def __init__(self, inner: Any, encoding: str) -> None:
        self._inner = inner
        self._encoding = encoding

    def __iter__(self) -> Iterator[bytes]:
        blocks = _count(self._inner)
        return _count(_decompress(blocks)) if self._encoding in ("gzip", "deflate") else blocks

    def close(self) -> None:
        self._inner.close()


def _count(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield blocks, and raise httpx2.ReadError at the limits of the current call."""
    for block in blocks:
        watch = current_watch()
        try:
            if watch is not None:
                watch.count_received(len(block))
                watch.check_receiving()
        except LimitReached as error:
            raise httpx2.ReadError(str(error)) from error
        yield block


def _decompress(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield decompressed data in blocks of a bounded size. Raises httpx2.DecodingError."""
    decoder = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        for block in blocks:
            rest = block
            while rest:
                if decoder.eof:  # another member follows
                    decoder = zlib.decompressobj(_GZIP_OR_ZLIB)
                yield decoder.decompress(rest, _BLOCK_BYTES)
                rest = decoder.unconsumed_tail or decoder.unused_data
    except zlib.error as error:
        raise httpx2.DecodingError(f"the body is not compressed as its header says: {error}") from error
    if not decoder.eof:
        raise httpx2.ReadError("the compressed body ends early")


def _watch_response(response: httpx2.Response) -> None:
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "deflate"):
        raise httpx2.DecodingError(f"the answer has the encoding {encoding[:40]!r}, which was not asked for")
    # The client must not decompress it again.
    response.headers.pop("content-encoding", None)
    response.stream = _Body(response.stream, encoding)


def watch_client(client: httpx2.Client) -> None:
    """Make all connections and bodies of a client keep to the limits of the current call."""
    client.headers["accept-encoding"] = "gzip"
    client.event_hooks["response"].append(_watch_response)
    # httpx2 has no public way to wrap the network of a client that finds its proxies itself.
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001
        if isinstance(transport, httpx2.HTTPTransport):
            pool: Any = transport._pool  # noqa: SLF001
            pool._network_backend = _Backend(pool._network_backend)  # noqa: SLF001
