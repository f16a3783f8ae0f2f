"""Files in object stores and on web servers, by URL; the only module that uses fsspec."""

import errno
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from runner.files.markers import is_marker

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


# Keys under which file systems report the version of a file, best first.
_VERSION_KEYS = (
    "ETag", "etag", "md5Hash", "Content-MD5", "Digest", "LastModified", "last_modified", "Last-Modified",
    "updated", "mtime", "created",
)  # fmt: skip


PROOF_SUFFIX = ".runner-check"
"""Ends the names of objects that are written to prove that a place can be written."""


class RemoteFileInfo(NamedTuple):
    """File metadata from a server: size in bytes, version marker, and ISO modification time."""

    size: int
    version: str
    modified_at: str | None


def is_url(path: str) -> bool:
    """Return whether a path is a URL, such as `s3://bucket/key`."""
    return _URL.match(path) is not None


def _first_line(text: str) -> str:
    """Return the first line of a reason: a driver may list all the places where it looked for a library."""
    return text.partition("\n")[0]


@contextmanager
def _map_errors(url: str) -> Iterator[None]:
    """Translate all exceptions to OSError, because each file system has exceptions of its own.

    Its errno is ENOENT if the file does not exist, as far as the server's reply is reliable.
    """
    try:
        yield
    except FileNotFoundError as error:
        # Some file systems raise this for every failure, with the real reason as its cause.
        cause = error.__cause__ or error.__context__
        is_absent = cause is None or isinstance(cause, LookupError | StopIteration | FileNotFoundError)
        if is_absent or getattr(cause, "status", None) in (404, 410):
            raise OSError(errno.ENOENT, "no such file", url) from error
        raise OSError(None, str(cause) or type(cause).__name__, url) from error
    except (ImportError, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise OSError(getattr(error, "errno", None), _first_line(reason), url) from error
    except Exception as error:
        # File systems and their clients are other packages: each has exceptions of its own.
        raise OSError(None, _first_line(f"{type(error).__name__}: {error}"), url) from error


def _open_filesystem(url: str, *, follow_redirects: bool = True) -> tuple[Any, str]:
    """Return the file system of a URL, and the path in it."""
    import fsspec

    # Not `url_to_fs`: it parses `::` in a name as the start of another URL, of any file system.
    scheme, _, rest = url.partition("://")
    url, kind = f"{scheme.lower()}://{rest}", fsspec.get_filesystem_class(scheme.lower())
    options = {} if follow_redirects or not _is_web(url) else {"allow_redirects": False}
    return kind(**kind._get_kwargs_from_urls(url), **options), kind._strip_protocol(url)


def _is_web(url: str) -> bool:
    return url.startswith(("http://", "https://"))


def find_urls(pattern: str) -> list[str]:
    """Return the URLs that match a URL or glob, in name order. Raises OSError."""
    with _map_errors(pattern):
        if not re.search(r"[*\[]", pattern):
            return [pattern]
        system, path = _open_filesystem(pattern)
        # The folder may have changed since it was last listed.
        system.invalidate_cache()
        if "[" in path and system.isfile(path):
            return [pattern]
        # The names on a web server are already URLs.
        found = sorted(
            name for name in system.glob(path) if not name.endswith(PROOF_SUFFIX) and not is_marker(name)
        )
        return [system.unstrip_protocol(name) for name in found if system.isfile(name)]


def stat_url(url: str, *, follow_redirects: bool = True, refresh: bool = False) -> RemoteFileInfo:
    """Return the metadata of a file without reading it. Raises OSError.

    `follow_redirects` allows redirects of a web server. `refresh` bypasses metadata cached from a listing of
    the folder.
    """
    with _map_errors(url):
        system, path = _open_filesystem(url, follow_redirects=follow_redirects)
        if refresh:
            system.invalidate_cache(path)
        info = system.info(path)
        if info.get("type") == "directory":
            raise IsADirectoryError(errno.EISDIR, "is a folder: name files, for example with /*", url)
        version = next((info[name] for name in _VERSION_KEYS if info.get(name)), "")
        shown = version.isoformat() if isinstance(version, datetime) else str(version)
        times = (value.isoformat() for value in info.values() if isinstance(value, datetime))
        return RemoteFileInfo(int(info.get("size") or 0), shown, next(times, None))


class _RemoteFile(io.RawIOBase):
    """A remote file that raises every failure as an OSError."""

    def __init__(self, url: str, *, follow_redirects: bool) -> None:
        super().__init__()
        self._url = url
        with _map_errors(url):
            system, path = _open_filesystem(url, follow_redirects=follow_redirects)
            self._file = system.open(path, "rb")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _map_errors(self._url):
            block = self._file.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def open_url(url: str, *, follow_redirects: bool = True) -> io.RawIOBase:
    """Open a file for reading; `follow_redirects` allows web redirects. Raises OSError, and so does reading."""
    return _RemoteFile(url, follow_redirects=follow_redirects)


def upload_file(file: Path, url: str) -> None:
    """Copy a local file to a URL, atomically if the server supports that. Raises OSError."""
    with _map_errors(url):
        system, path = _open_filesystem(url)
        system.put_file(str(file), path)


def delete_url(url: str) -> None:
    """Delete a file. Raises OSError."""
    with _map_errors(url):
        system, path = _open_filesystem(url)
        system.rm_file(path)


def list_names(url: str) -> list[str]:
    """Return the names of the files and folders below a URL, none if there is nothing. Raises OSError."""
    with _map_errors(url):
        system, path = _open_filesystem(url)
        system.invalidate_cache()
        try:
            found = system.ls(path, detail=False)
        except FileNotFoundError:
            return []
        # Some stores list an empty object for the folder itself.
        return sorted(
            {name.rstrip("/").rpartition("/")[2] for name in found if name.strip("/") != path.strip("/")}
        )


def prove_writable(url: str) -> None:
    """Write an empty object beside the one of a URL, and delete it. Raises OSError if it cannot be done.

    Its name begins with a dot and is always the same, so the next proof also removes what a killed one has left.
    """
    folder, _, name = url.rpartition("/")
    proof = f"{folder}/.{name}{PROOF_SUFFIX}"
    with _map_errors(proof):
        system, path = _open_filesystem(proof)
        system.pipe_file(path, b"")
    try:
        with _map_errors(proof):
            system.rm_file(path)
    except OSError as error:
        message = f"an empty object was written, but cannot be deleted ({error.strerror}): delete {proof}"
        raise OSError(error.errno, message, url) from error


def why_not_writable(url: str) -> str | None:
    """Return why a URL cannot be written, or None. Does not connect, so it cannot find every reason."""
    if _is_web(url.lower()):
        return "cannot write outputs to a web server"
    try:
        with _map_errors(url):
            _, path = _open_filesystem(url)
    except OSError as error:
        return str(error.strerror)
    is_file = "/" in path and not url.endswith("/")
    return None if is_file else "is not a file: cannot write to a bucket, or to a folder in it"
