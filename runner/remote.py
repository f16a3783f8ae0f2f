"""Files in object stores and on web servers, by URL: the only place that knows fsspec."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# By which of its facts a file is known to be the same, whatever the file system calls it.
_VERSIONS = (
    "ETag", "etag", "md5Hash", "Content-MD5", "Digest", "LastModified", "last_modified", "Last-Modified",
    "updated", "mtime", "created",
)  # fmt: skip


class Facts(NamedTuple):
    """What a server says of a file: its size in bytes; what tells this version of it; its time of change, ISO."""

    size: int
    version: str
    modified: str | None


def is_url(path: str) -> bool:
    """Whether a path is a URL, such as `s3://bucket/key`."""
    return _URL.match(path) is not None


@contextmanager
def _translated(url: str) -> Iterator[None]:
    """Raise OSError for whatever a file system raises: each has exceptions of its own."""
    try:
        yield
    except FileNotFoundError as error:
        # Some file systems say so of every failure, and give the reason as the cause.
        reason = str(error.__cause__ or error.__context__ or "") or "no such file"
        raise OSError(None, reason, url) from error
    except (ImportError, OSError) as error:
        raise OSError(getattr(error, "errno", None), str(error) or type(error).__name__, url) from error
    except Exception as error:
        raise OSError(None, f"{type(error).__name__}: {error}", url) from error


def _opened(url: str, *, follows: bool = True) -> tuple[Any, str]:
    import fsspec

    options = {} if follows or not url.startswith(("http://", "https://")) else {"allow_redirects": False}
    found: tuple[Any, str] = fsspec.core.url_to_fs(url, **options)
    return found


def find(pattern: str) -> list[str]:
    """The URLs that a URL or glob names, in name order. Raises OSError."""
    with _translated(pattern):
        if not re.search(r"[*\[]", pattern):
            return [pattern]
        system, path = _opened(pattern)
        # A web server's names are URLs already.
        return [system.unstrip_protocol(name) for name in sorted(system.glob(path)) if system.isfile(name)]


def look(url: str, *, follows: bool = True) -> Facts:
    """What is known of a file without reading it, redirects of a web server followed or not. Raises OSError."""
    with _translated(url):
        system, path = _opened(url, follows=follows)
        info = system.info(path)
        version = next((info[name] for name in _VERSIONS if info.get(name)), "")
        shown = version.isoformat() if isinstance(version, datetime) else str(version)
        times = (value.isoformat() for value in info.values() if isinstance(value, datetime))
        return Facts(int(info.get("size") or 0), shown, next(times, None))


class _Raw(io.RawIOBase):
    """A remote file of which every failure is an OSError."""

    def __init__(self, url: str, *, follows: bool) -> None:
        super().__init__()
        self._url = url
        with _translated(url):
            system, path = _opened(url, follows=follows)
            self._file = system.open(path, "rb")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _translated(self._url):
            block = self._file.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def open_raw(url: str, *, follows: bool = True) -> io.RawIOBase:
    """The bytes of a file, redirects of a web server followed or not. Raises OSError, and so does reading."""
    return _Raw(url, follows=follows)


def put(file: Path, url: str) -> None:
    """Copy a local file to a URL, whole or not at all where the server can do that. Raises OSError."""
    with _translated(url):
        system, path = _opened(url)
        system.put_file(str(file), path)


def cannot_write(url: str) -> str | None:
    """Why a URL cannot be written, as far as can be known without a connection, or None."""
    try:
        with _translated(url):
            system, _ = _opened(url)
            is_readable_only = type(system).__name__ == "HTTPFileSystem"
    except OSError as error:
        return str(error.strerror)
    return "a web server takes no outputs" if is_readable_only else None
