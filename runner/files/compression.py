"""Compression by file suffix: `.gz`, `.bz2`, `.xz`."""

import bz2
import gzip
import lzma
import zlib
from contextlib import AbstractContextManager, nullcontext
from pathlib import PurePath
from typing import BinaryIO, cast

DECOMPRESSION_ERRORS = (EOFError, zlib.error, lzma.LZMAError)
"""Exceptions, besides OSError, from reading a damaged file."""


def _suffix(name: str) -> str:
    """Return the last suffix of a path, or of the path in a URL, in lower case."""
    # In any other path, a question mark is part of the name.
    is_web = name.lower().startswith(("http://", "https://"))
    return PurePath(name.partition("?")[0] if is_web else name).suffix.lower()


def decompress(name: str, stream: BinaryIO) -> BinaryIO:
    """Decompress a stream if its file name has a compression suffix."""
    match _suffix(name):
        case ".gz":
            return cast(BinaryIO, gzip.GzipFile(fileobj=stream))
        case ".bz2":
            return cast(BinaryIO, bz2.BZ2File(stream))
        case ".xz":
            return cast(BinaryIO, lzma.LZMAFile(stream))
    return stream


def compress(name: str, stream: BinaryIO) -> AbstractContextManager[BinaryIO]:
    """Return a writer into `stream` that compresses by suffix; equal input gives equal bytes."""
    match _suffix(name):
        case ".gz":
            # Without a time in the header, equal input gives equal bytes.
            return cast(AbstractContextManager[BinaryIO], gzip.GzipFile("", "wb", fileobj=stream, mtime=0))
        case ".bz2":
            return cast(AbstractContextManager[BinaryIO], bz2.BZ2File(stream, "wb"))
        case ".xz":
            return cast(AbstractContextManager[BinaryIO], lzma.LZMAFile(stream, "wb"))
    return nullcontext(stream)


def is_compressed(name: str) -> bool:
    """Return whether a file name has a compression suffix."""
    return _suffix(name) in (".gz", ".bz2", ".xz")
