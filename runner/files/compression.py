"""Compression by file suffix: `.gz`, `.bz2`, `.xz`, `.zst`."""

import bz2
import gzip
import importlib
import io
import lzma
import sys
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import PurePath
from typing import Any, BinaryIO, cast

from runner.files.extras import missing_package_message

SUFFIXES = (".gz", ".bz2", ".xz", ".zst")

DECOMPRESSION_ERRORS = (EOFError, zlib.error, lzma.LZMAError)
"""Exceptions, besides OSError, from reading a damaged file."""


_BLOCK_BYTES = 1 << 16


class _StreamReader(io.RawIOBase):
    """Decompress one stream after the other until the file ends. `error` is raised by a damaged stream.

    The readers of the standard library take a damaged later stream for garbage, and end without an error.
    """

    def __init__(
        self, file: BinaryIO, make: Callable[[], Any], error: type[Exception], padding: bytes = b""
    ) -> None:
        super().__init__()
        self._file, self._make, self._error, self._padding = file, make, error, padding
        self._stream, self._rest = make(), b""

    def readable(self) -> bool:
        """Return True, as `io` asks of a raw file."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read decompressed bytes into `buffer`, and return their number. Raises OSError for a damaged file."""
        while True:
            if self._stream.eof and not self._begin_stream():
                return 0
            if self._stream.needs_input and not self._rest:
                self._rest = self._file.read(_BLOCK_BYTES)
                if not self._rest:
                    raise EOFError("the compressed file is cut short")
            try:
                found = self._stream.decompress(self._rest, len(buffer))
            except self._error as error:
                raise OSError(f"the compressed data is damaged: {error}") from error
            self._rest = self._stream.unused_data if self._stream.eof else b""
            if found:
                buffer[: len(found)] = found
                return len(found)

    def _begin_stream(self) -> bool:
        """Begin the next stream; return False at the end of the file."""
        while not (rest := self._rest.lstrip(self._padding) if self._padding else self._rest):
            if not (block := self._file.read(_BLOCK_BYTES)):
                return False
            self._rest = block
        self._stream, self._rest = self._make(), rest
        return True


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
            return cast(BinaryIO, io.BufferedReader(_StreamReader(stream, bz2.BZ2Decompressor, OSError)))
        case ".xz":
            reader = _StreamReader(stream, lzma.LZMADecompressor, lzma.LZMAError, padding=b"\0")
            return cast(BinaryIO, io.BufferedReader(reader))
        case ".zst":
            zstd = _zstd()
            return cast(BinaryIO, io.BufferedReader(_StreamReader(stream, zstd.ZstdDecompressor, zstd.ZstdError)))
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
        case ".zst":
            return cast(AbstractContextManager[BinaryIO], _zstd().ZstdFile(stream, "wb"))
    return nullcontext(stream)


def _zstd() -> Any:
    """Return the module of Zstandard: that of Python 3.14, or its copy for older versions."""
    try:
        return importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    except ImportError as error:
        raise OSError(missing_package_message("zstd")) from error


def is_compressed(name: str) -> bool:
    """Return whether a file name has a compression suffix."""
    return _suffix(name) in SUFFIXES
