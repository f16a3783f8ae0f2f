"""Files in object stores and on web servers, by URL: the only place that knows fsspec."""

import errno
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
    """Raise OSError for whatever a file system raises: each has exceptions of its own.

    It has the number ENOENT if the file is not there, as far as the server can be believed.
    """
    try:
        yield
    except FileNotFoundError as error:
        # Some file systems say so of every failure, and give the reason as the cause.
        cause = error.__cause__ or error.__context__
        is_absent = cause is None or isinstance(cause, LookupError | StopIteration | FileNotFoundError)
        if is_absent or getattr(cause, "status", None) in (404, 410):
            raise OSError(errno.ENOENT, "no such file", url) from error
        raise OSError(None, str(cause) or type(cause).__name__, url) from error
    except (ImportError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise OSError(getattr(error, "errno", None), reason, url) from error
    except Exception as error:
        raise OSError(None, f"{type(error).__name__}: {error}", url) from error


def _opened(url: str, *, follows: bool = True) -> tuple[Any, str]:
    """The file system of a URL, and the path in it."""
    import fsspec

    # Not `url_to_fs`: it takes a `::` in a name for the beginning of another URL, of any file system.
    scheme, _, rest = url.partition("://")
    url, kind = f"{scheme.lower()}://{rest}", fsspec.get_filesystem_class(scheme.lower())
    options = {} if follows or not _is_web(url) else {"allow_redirects": False}
    return kind(**kind._get_kwargs_from_urls(url), **options), kind._strip_protocol(url)


def _is_web(url: str) -> bool:
    return url.startswith(("http://", "https://"))


def find(pattern: str) -> list[str]:
    """The URLs that a URL or glob names, in name order. Raises OSError."""
    with _translated(pattern):
        if not re.search(r"[*\[]", pattern):
            return [pattern]
        system, path = _opened(pattern)
        # What was listed before may have changed.
        system.invalidate_cache()
        if "[" in path and system.isfile(path):
            return [pattern]
        # A web server's names are URLs already.
        return [system.unstrip_protocol(name) for name in sorted(system.glob(path)) if system.isfile(name)]


def look(url: str, *, follows: bool = True, anew: bool = False) -> Facts:
    """What is known of a file without reading it, redirects of a web server followed or not. Raises OSError.

    It is asked `anew` or may be what a listing of its folder said.
    """
    with _translated(url):
        system, path = _opened(url, follows=follows)
        if anew:
            system.invalidate_cache(path)
        info = system.info(path)
        if info.get("type") == "directory":
            raise IsADirectoryError(errno.EISDIR, "is a folder: name files, for example with /*", url)
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
    if _is_web(url.lower()):
        return "a web server takes no outputs"
    try:
        with _translated(url):
            _, path = _opened(url)
    except OSError as error:
        return str(error.strerror)
    is_file = "/" in path and not url.endswith("/")
    return None if is_file else "names no file: a bucket, or a folder in it, cannot be written"
