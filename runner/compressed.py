"""Compression by the suffix of a name: `.gz`, `.bz2`, `.xz`."""

import bz2
import gzip
import lzma
import zlib
from contextlib import AbstractContextManager, nullcontext
from pathlib import PurePath
from typing import BinaryIO, cast

DAMAGE = (EOFError, zlib.error, lzma.LZMAError)
"""What reading a damaged file raises, besides OSError."""


def _suffix(name: str) -> str:
    """The last suffix of a path, or of the path in a URL."""
    # Elsewhere a question mark is a part of the name.
    is_web = name.lower().startswith(("http://", "https://"))
    return PurePath(name.partition("?")[0] if is_web else name).suffix.lower()


def unpacked(name: str, stream: BinaryIO) -> BinaryIO:
    """What a stream holds, decompressed if the name says that it is compressed."""
    match _suffix(name):
        case ".gz":
            return cast(BinaryIO, gzip.GzipFile(fileobj=stream))
        case ".bz2":
            return cast(BinaryIO, bz2.BZ2File(stream))
        case ".xz":
            return cast(BinaryIO, lzma.LZMAFile(stream))
    return stream


def packing(name: str, stream: BinaryIO) -> AbstractContextManager[BinaryIO]:
    """A file that writes into `stream`, compressed if the name says so; the same bytes for the same input."""
    match _suffix(name):
        case ".gz":
            # No time of writing in the header.
            return cast(AbstractContextManager[BinaryIO], gzip.GzipFile("", "wb", fileobj=stream, mtime=0))
        case ".bz2":
            return cast(AbstractContextManager[BinaryIO], bz2.BZ2File(stream, "wb"))
        case ".xz":
            return cast(AbstractContextManager[BinaryIO], lzma.LZMAFile(stream, "wb"))
    return nullcontext(stream)


def is_packed(name: str) -> bool:
    """Whether a name says that a file is compressed."""
    return _suffix(name) in (".gz", ".bz2", ".xz")
