"""Answers of broken and hostile servers, and the list of calls that must survive each of them."""

import gzip
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runner.api.client import Api
from runner.api.limits import AnswerLimits, ApiLimits
from tests.support.hostile.server import hostile_api, response
from tests.support.simulator import DEEP_JSON

PARAMS = b'{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}'

CALLS: dict[str, Callable[[Api, Path], Any]] = {
    "fetch_workspace_info": lambda api, _: api.fetch_workspace_info(),
    "name_queue": lambda api, _: api.name_queue(None),
    "create_batch": lambda api, body: api.create_batch([body.read_bytes()], body.stat().st_size, lambda: None),
    "create_message": lambda api, _: api.create_message(PARAMS),
    "count_tokens": lambda api, _: api.count_tokens(PARAMS),
    "check_model": lambda api, _: api.check_model("m"),
    "upload_file": lambda api, _: api.upload_file(b"abc", "a.txt", "text/plain"),
    "delete_file": lambda api, _: api.delete_file("file_1"),
    "find_existing_files": lambda api, _: api.find_existing_files(["file_1"]),
    "retrieve_batch": lambda api, _: api.retrieve_batch("msgbatch_1"),
    "list_batches": lambda api, _: list(api.list_batches(created_after=0)),
    "cancel_batch": lambda api, _: api.cancel_batch("msgbatch_1"),
    "delete_batch": lambda api, _: api.delete_batch("msgbatch_1"),
    "stream_results": lambda api, _: sum(map(len, api.stream_results("msgbatch_1", max_line=100_000))),
}
"""Every call of the client, by its name. A test fails for a method that is not here."""

MAX_BYTES = 300_000
_FAST = AnswerLimits(0.5, MAX_BYTES, bytes_per_second=1e9)
FAST_LIMITS = ApiLimits(_FAST, _FAST, _FAST, _FAST)
_ENDED = threading.Event()


def _hang() -> Iterator[bytes]:
    while not _ENDED.wait(0.05):
        yield b""


def _trickle(text: bytes) -> Iterator[bytes]:
    for position in range(len(text)):
        yield text[position : position + 1]
        if _ENDED.wait(0.02):
            return
    yield from _hang()


def _endless(head: bytes, piece: bytes) -> Iterator[bytes]:
    yield head
    while not _ENDED.is_set():
        yield piece


def _cut(*pieces: bytes) -> Iterator[bytes]:
    yield from pieces
    raise ConnectionError


HEAD = b"HTTP/1.1 200 OK\r\nDate: Thu, 26 Nov 2026 12:00:00 GMT\r\nContent-Type: application/json\r\n"
OPEN = HEAD + b"Connection: close\r\n\r\n"
_BOMB = gzip.compress(gzip.compress(b"0" * 100_000_000) * 2)
_ONE_BOMB = gzip.compress(b"0" * 100_000_000)

ENDLESS: dict[str, Callable[[], Iterable[bytes]]] = {
    "hang": _hang,
    "hang in headers": lambda: _after(HEAD, _hang()),
    "hang after headers": lambda: _after(HEAD + b"Content-Length: 99\r\n\r\n", _hang()),
    "hang in body": lambda: _after(HEAD + b'Content-Length: 99\r\n\r\n{"id":', _hang()),
    "trickle of headers": lambda: _trickle(HEAD + b"X: " + b"x" * 10_000),
    "trickle of body": lambda: _after(OPEN, _trickle(b" " * 10_000)),
    "trickle of chunks": lambda: _after(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n", _trickle(b"1\r\n \r\n" * 9_999)
    ),
}
"""Answers that never end by themselves and stay short."""

TOO_LONG: dict[str, Callable[[], Iterable[bytes]]] = {
    "endless lines": lambda: _endless(OPEN, b"{}\n" * 10_000),
    "one endless line": lambda: _endless(OPEN, b" " * 10_000),
    "long line": lambda: response(b" " * 200_000 + b"\n" + b" " * 200_000),
    "gzip bomb": lambda: response(_ONE_BOMB, Content_Encoding="gzip"),
    "gzip that says nothing": lambda: _endless(OPEN[:-2] + b"Content-Encoding: gzip\r\n\r\n", gzip.compress(b"")),
    "endless gzip header": lambda: _endless(
        OPEN[:-2] + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x08\0\0\0\0\0\3", b"n" * 10_000
    ),
    "bomb in a bomb": lambda: response(_BOMB, Content_Encoding="gzip, gzip"),
}
"""Answers that are longer than any call can need."""

BROKEN: dict[str, Callable[[], Iterable[bytes]]] = {
    "no answer": _cut,
    "cut in headers": lambda: _cut(HEAD),
    "cut in body": lambda: _cut(HEAD + b'Content-Length: 99\r\n\r\n{"id":'),
    "cut in chunks": lambda: _cut(HEAD + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"id"\r\n'),
    "cut in gzip": lambda: response(gzip.compress(b"{}" * 99)[:-9], Content_Encoding="gzip"),
    "not gzip": lambda: response({}, Content_Encoding="gzip"),
    "unknown encoding": lambda: response({}, Content_Encoding="br"),
    "no HTTP": lambda: _cut(b"\0\1\2\3 nothing\r\n\r\n"),
}
"""Answers that break off, or cannot be read."""

NOT_THE_API: dict[str, Callable[[], Iterable[bytes]]] = {
    "empty": lambda: response(b""),
    "HTML": lambda: response(b"<html>proxy</html>", Content_Type="text/html"),
    "null": lambda: response(None),
    "list": lambda: response([]),
    "deep": lambda: response(DEEP_JSON),
    "deep field": lambda: response(b'{"x":%b}' % DEEP_JSON),
    "bad UTF-8": lambda: response(b'{"id":"\xff"}'),
}
"""Whole answers of something other than the API; as results, they are lines of no use."""

STATUSES = (301, 400, 401, 402, 403, 404, 408, 409, 413, 418, 422, 429, 500, 501, 502, 503, 504, 520, 529, 599)


def _after(head: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    yield head
    yield from rest


@contextmanager
def misbehaving_api(make: Callable[[], Iterable[bytes]]) -> Iterator[Api]:
    """Yield a client with small limits, whose server answers every call in this way."""
    _ENDED.clear()
    try:
        with hostile_api(lambda _, __: make()) as api:
            api.limits = FAST_LIMITS
            yield api
    finally:
        _ENDED.set()
