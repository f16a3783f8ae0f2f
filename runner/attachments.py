"""Encode the documents and images of a request in the form of the API."""

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from runner.load import Load, Unsendable, limits, weighed
from runner.reach import Reach
from runner.spec.spec import Block

_HELD_BYTES = 8_000_000
_ENTRY_BYTES = 1_000
_REMEMBERED = 1_000


class Attached(NamedTuple):
    """A file that rows attach, as it was read; see `sources.InputFile` for the first five fields.

    `mark` is set for an upload through the Files API, and stands for the file's id until it has one.
    """

    path: str
    bytes: int
    mtime_ns: int
    sha256: str
    version: str
    mark: str | None = None
    media_type: str = ""


def mark_of(sha256: str, kind: str) -> str:
    """Return the placeholder for a file's id: equal for equal bytes and kind, and as long as an id."""
    return "upload_" + hashlib.sha256(f"{sha256} {kind}".encode()).hexdigest()[:24]


class _Seen(NamedTuple):
    """A cached result: the JSON of a file's source, its load, and the problem if it cannot be sent."""

    source: bytes
    load: Load
    problem: str | None = None

    @property
    def bytes(self) -> int:
        """The approximate memory of this entry, in bytes."""
        return len(self.source) + _ENTRY_BYTES


@dataclass(slots=True)
class Attachments:
    """Encoder of the attachments of one spec, with a cache.

    `note` is called for each file within reach, usually once.
    """

    reach: Reach
    note: Callable[[Attached], None]
    _seen: dict[tuple[str, str | None, bool, str], _Seen] = field(default_factory=dict)
    _held: int = 0
    _noted: dict[Attached, None] = field(default_factory=dict)

    def source(self, block: Block, value: str, load: Load) -> bytes:
        """Return the JSON of a block's source; `value` is its rendered path, URL, base64, id or text.

        Raises Unsendable if it cannot be read, is of the wrong type, or exceeds a limit. Raises InputError if a
        server fails.
        """
        if not value.strip():
            raise Unsendable(f"{block.given} is empty")
        if block.given == "text":
            return _encoded({"type": "text", "media_type": "text/plain", "data": value})
        if block.given == "path":
            return self._of_path(block, value.strip("\r\n"), load)
        value = value.strip()
        if block.given == "base64":
            data = _from_base64(value)
            return _inline(data, weighed(block, data, f"the {block.type}", load), load)
        if block.given == "url" and not value.startswith(("https://", "http://")):
            raise Unsendable(f"{value} is no URL that the API reads: https:// is expected")
        load.extra += limits().unknown_pages * limits().page_tokens if block.type == "document" else 0
        load.extra += limits().image_tokens if block.type == "image" else 0
        return _encoded({"type": "url", "url": value} if block.given == "url" else _file(value))

    def _of_path(self, block: Block, path: str, load: Load) -> bytes:
        """Return the source of a file, from the cache if possible, and add its load."""
        key = (block.type, block.folder, block.upload, path)
        seen = self._seen.pop(key, None)
        if seen is None:
            seen = self._look(block, path)
            self._held += seen.bytes
        # The least recently used entry is evicted first.
        self._seen[key] = seen
        while self._held > _HELD_BYTES:
            self._held -= self._seen.pop(next(iter(self._seen))).bytes
        if seen.problem is not None:
            raise Unsendable(seen.problem)
        load.add(seen.load)
        return seen.source

    def _note(self, attached: Attached) -> None:
        # A file that was evicted from the cache is read again, but must not be noted again.
        if attached not in self._noted:
            self.note(attached)
            self._noted[attached] = None
            if len(self._noted) > _REMEMBERED:
                del self._noted[next(iter(self._noted))]

    def _look(self, block: Block, path: str) -> _Seen:
        load = Load()
        try:
            return _Seen(self._of_file(block, path, load), load)
        except Unsendable as error:
            problem = str(error)
        # If the file changes, its row changes too, so its state is noted. Not inside `except`: an error raised
        # there would have the first one as its context.
        if (file := self.reach.state(block, path)) is not None:
            self._note(Attached(file.path, file.bytes, file.mtime_ns, "", file.version))
        return _Seen(b"", load, problem)

    def _of_file(self, block: Block, path: str, load: Load) -> bytes:
        file, data = self.reach.read(block, path)
        kind = weighed(block, data, path, load)
        sha256 = hashlib.sha256(data).hexdigest()
        mark = mark_of(sha256, kind) if block.upload else None
        self._note(Attached(file.path, file.bytes, file.mtime_ns, sha256, file.version, mark, kind))
        if mark is None:
            return _inline(data, kind, load)
        load.extra += len(data) if kind == "text/plain" else 0
        return _encoded(_file(mark))


def _encoded(source: Mapping[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(source)
    except UnicodeEncodeError as error:
        raise Unsendable("half of a surrogate pair is not text") from error


def _file(file_id: str) -> dict[str, str]:
    return {"type": "file", "file_id": file_id}


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unsendable(f"the text of base64 is none: {error}") from error


def _inline(data: bytes, kind: str, load: Load) -> bytes:
    """Return the JSON of a source that contains the data itself."""
    if kind == "text/plain":
        return _encoded({"type": "text", "media_type": kind, "data": data.decode()})
    encoded = base64.b64encode(data)
    load.extra -= len(encoded)
    return b'{"type":"base64","media_type":"%b","data":"%b"}' % (kind.encode(), encoded)
