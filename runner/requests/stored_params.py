"""Params as they are kept on disk: a reference stands in the place of the data of each file that they attach.

In base64 a file is a third larger, and a run can attach a terabyte. So a body on disk has the path, size and
digest of such a file, which is read again when its request is sent. A file that has changed is an error then.
"""

import base64
import errno
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from runner.errors import FileChanged
from runner.files import remote
from runner.files.regular import check_regular_file
from runner.spec.redact import redact_passwords

_BLOCK_BYTES = 1 << 18
# Three bytes are four characters of base64.
_FILE_BLOCK_BYTES = 3 << 16

# JSON has no such byte.
_MARK = b"\0"


class Params(NamedTuple):
    """The JSON params of one request, as they are sent and as they are kept on disk; equal without attachments."""

    sent: bytes
    stored: bytes


class FileReference(msgspec.Struct, frozen=True):
    """A file whose whole content is sent: its path, as in `AttachedFile`, its size in bytes, and its SHA-256."""

    path: str
    bytes: int
    sha256: str

    @property
    def encoded_bytes(self) -> int:
        """The size of the content in base64, in bytes."""
        return (self.bytes + 2) // 3 * 4


_decode_reference = msgspec.json.Decoder(FileReference).decode


def plain_params(params: bytes) -> Params:
    """Return params that are kept as they are sent."""
    return Params(params, params)


def encode_reference(reference: FileReference) -> bytes:
    """Return what stands for the base64 of a file in stored params."""
    return b"%b%b%b" % (_MARK, msgspec.json.encode(reference), _MARK)


def _split_references(stored: bytes) -> Iterator[bytes | FileReference]:
    """Yield stored params in parts: texts and references by turns. Raises ValueError if they are damaged."""
    parts = stored.split(_MARK)
    if len(parts) % 2 == 0:
        raise ValueError("a reference to a file is cut off")
    for index, part in enumerate(parts):
        yield _decode_reference(part) if index % 2 else part


def restore_params(stored: bytes, root: Path) -> Params:
    """Return stored params with those that are sent; `root` is the folder that paths are relative to.

    Raises FileChanged if a file is not as it was, and ValueError if the params are damaged.
    """
    if _MARK not in stored:
        return Params(stored, stored)
    blocks = [block for part in _split_references(stored) for block in _read_part(part, root)]
    return Params(b"".join(blocks), stored)


def outline_params(stored: bytes) -> bytes:
    """Return stored params as JSON in which a text stands for the data of each file."""
    texts = [
        part if isinstance(part, bytes) else msgspec.json.encode(f"{part.bytes:,} bytes of {part.path}")[1:-1]
        for part in _split_references(stored)
    ]
    return b"".join(texts)


def replace_sent(before: Params, sent: bytes) -> Params:
    """Return params after an edit of their text: the data of files in them is kept as references."""
    if before.stored is before.sent or _MARK not in before.stored:
        return Params(sent, sent)
    stored, done, offset = list[bytes](), 0, 0
    for part in _split_references(before.stored):
        if isinstance(part, bytes):
            offset += len(part)
            continue
        data = before.sent[offset : offset + part.encoded_bytes]
        offset += len(data)
        # In quotes, because a short text could be a part of another.
        if (at := sent.find(b'"%b"' % data, done)) >= 0:
            stored += sent[done : at + 1], encode_reference(part)
            done = at + 1 + len(data)
    return Params(sent, b"".join([*stored, sent[done:]]))


def _read_part(part: bytes | FileReference, root: Path) -> Iterator[bytes]:
    if isinstance(part, bytes):
        yield part
    else:
        yield from map(base64.b64encode, read_file(part, root))


def read_file(reference: FileReference, root: Path) -> Iterator[bytes]:
    """Yield the content of a file in blocks, of which all but the last have a multiple of three bytes.

    Raises FileChanged if it is not as it was, at its end at the latest.
    """
    shown, sha256, size = redact_passwords(reference.path), hashlib.sha256(), 0
    try:
        with _open_file(reference.path, root) as file:
            while size <= reference.bytes and (block := file.read(_FILE_BLOCK_BYTES)):
                sha256.update(block)
                size += len(block)
                if size <= reference.bytes:
                    yield block
    except OSError as error:
        raise FileChanged(_unreadable_message(reference.path, shown, error)) from error
    if size != reference.bytes or sha256.hexdigest() != reference.sha256:
        raise FileChanged(f"{shown} was edited after the run was prepared: restore it, or start over with --new")


def _unreadable_message(path: str, shown: str, error: OSError) -> str:
    reason = error.strerror or error
    if remote.is_url(path) and error.errno != errno.ENOENT:
        return f"{shown} cannot be read now: {reason}; run the same command again once its server sends it"
    return f"{shown} can no longer be read: {reason}; restore it, or start over with --new"


def _open_file(path: str, root: Path) -> BinaryIO:
    if remote.is_url(path):
        return io.BufferedReader(remote.open_url(path, follow_redirects=False), _FILE_BLOCK_BYTES)
    check_regular_file(root / path)
    return (root / path).open("rb")


@dataclass(frozen=True, slots=True)
class StoredBody:
    """A body on disk; iterating over it yields the bytes to send, in blocks, and starts over each time.

    It raises FileChanged if a file that it attaches is not as it was, and ValueError if it is damaged.
    """

    path: Path
    root: Path

    def __iter__(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            rest = b""
            while block := file.read(_BLOCK_BYTES):
                whole, mark, rest = self._cut(rest + block)
                for part in _split_references(whole):
                    yield from _read_part(part, self.root)
                rest = mark + rest
            if rest:
                raise ValueError(f"{self.path} is damaged: a reference to a file is cut off")

    @staticmethod
    def _cut(data: bytes) -> tuple[bytes, bytes, bytes]:
        """Return data up to its last reference that is not complete, and that reference."""
        return (data, b"", b"") if data.count(_MARK) % 2 == 0 else data.rpartition(_MARK)

    def is_intact(self, sha256: str) -> bool:
        """Return whether the bytes to send have this SHA-256. Raises OSError, and FileChanged as above."""
        digest = hashlib.sha256()
        try:
            for block in self:
                digest.update(block)
        except ValueError:
            return False
        return digest.hexdigest() == sha256
