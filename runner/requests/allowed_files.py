"""Resolve and read the files that rows name, within the allowed folder or URL prefix."""

import errno
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from runner.errors import InputError, Problem
from runner.files import remote
from runner.requests.attachment_totals import RowRejected
from runner.requests.hidden_files import find_hidden_part
from runner.spec.prompt import Block
from runner.spec.redact import redact_passwords
from runner.spec.spec import Spec

_MAX_READ_BYTES = 256_000_000


_MAX_URL_CHARS = 8_000


_SIZE_HINT = ": make it smaller, or set `upload: true`"


MISSING_FILE_SIZE = -1
"""The size of a missing file."""


class AllowedFile(NamedTuple):
    """A file: path, size in bytes, and modification time or version.

    The path is relative to the project if the file is in it. A remote file has its URL as path, and a version.
    """

    path: str
    size: int
    mtime_ns: int = 0
    version: str = ""


@dataclass(frozen=True, slots=True)
class AllowedFiles:
    """Access to the files that the rows of one spec may attach."""

    spec: Spec

    def read_file(self, block: Block, path: str) -> tuple[AllowedFile, bytes]:
        """Return a file that a row names, and its bytes.

        Raises RowRejected if it cannot be read or is outside the allowed folders. Raises InputError if a server
        fails, because that is not the row's fault.
        """
        try:
            if _is_remote(block, path):
                return self._fetch_file(block, path)
            absolute = self._resolve_path(block, path)
            facts = absolute.stat()
            if not stat.S_ISREG(facts.st_mode):
                raise RowRejected(f"{path} is no regular file")
            self._check_size(block, path, facts.st_size)
            data = absolute.read_bytes()
            return AllowedFile(self._display_path(absolute), len(data), facts.st_mtime_ns), data
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise RowRejected(f"{path} cannot be read: {reason}") from error
        except ValueError as error:
            raise (
                error if isinstance(error, RowRejected) else RowRejected(f"{path!r} is no path: {error}")
            ) from error

    def stat_file(self, block: Block, path: str) -> AllowedFile | None:
        """Return the current metadata of a file, or None if it is outside the allowed folders.

        A missing file has the size MISSING_FILE_SIZE. Raises InputError if a server fails.
        """
        try:
            if _is_remote(block, path):
                url = self._resolve_url(block, path)
                facts = self._stat_url(url)
                return (
                    AllowedFile(url, MISSING_FILE_SIZE)
                    if facts is None
                    else AllowedFile(url, facts.size, version=facts.version)
                )
            absolute = self._resolve_path(block, path)
            found = absolute.stat()
            return AllowedFile(self._display_path(absolute), found.st_size, found.st_mtime_ns)
        except RowRejected:
            # A path outside the allowed folders stays invalid until the spec is edited.
            return None
        except (OSError, ValueError, RuntimeError):
            return AllowedFile(str(Path(block.folder or ".") / path), MISSING_FILE_SIZE)

    def _check_size(self, block: Block, path: str, size: int) -> None:
        """Raise RowRejected if a file is too large, before it is read."""
        is_sent_whole = not block.upload and not block.convert and block.pages is None
        most = self.spec.batch.max_bytes * 3 // 4 if is_sent_whole else _MAX_READ_BYTES
        if size > most:
            raise RowRejected(f"{path} has {size:,} bytes, and {most:,} is the most" + _SIZE_HINT * is_sent_whole)

    def _display_path(self, absolute: Path) -> str:
        """Return an absolute path, made relative to the project if the project contains it.

        Raises RowRejected if it is not UTF-8: rows cannot name such a file, but a link can lead to it.
        """
        own = self.spec.root.resolve()
        path = str(absolute.relative_to(own) if absolute.is_relative_to(own) else absolute)
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise RowRejected(f"{path!r} is no path in UTF-8: rename the file") from error
        return path

    def _resolve_path(self, block: Block, path: str) -> Path:
        folders = [self.spec.root / (block.folder or ".")]
        if not folders[0].is_dir():
            raise RowRejected(f"the folder {block.folder} is not there")
        if block.folder is None and self._source_folder and not remote.is_url(self._source_folder):
            folders.append(self.spec.root / self._source_folder)
        absolute = (folders[0] / path).resolve()
        if not any(absolute.is_relative_to(folder.resolve()) for folder in folders):
            raise RowRejected(f"{path} leads out of {folders[0].resolve()}: set `folder` to where files may be")
        if block.folder is None:
            self._check_hidden(path, absolute, folders)
        return absolute

    def _check_hidden(self, path: str, absolute: Path, folders: list[Path]) -> None:
        """Raise RowRejected if a row names a hidden file, or one of the runner's own folders.

        Rows come from strangers, and such files hold keys, the answers of other runs, or a repository's history.
        """
        named = Path(os.path.abspath(folders[0] / path))
        places = [folder for one in folders for folder in (Path(os.path.abspath(one)), one.resolve())]
        for target in (named, absolute):
            inner = [target.relative_to(place) for place in places if target.is_relative_to(place)]
            if inner and (part := find_hidden_part(min(inner, key=lambda one: len(one.parts)).parts)):
                raise RowRejected(_hidden_message(path, f"the hidden {part}"))
        for own in (".runner", "simulated"):
            is_source = any(_is_inside(one, self.spec.root / own) for one in folders[1:])
            if _is_inside(absolute, self.spec.root / own) and not is_source:
                raise RowRejected(_hidden_message(path, f"{own}/, which belongs to the runner"))

    def _resolve_url(self, block: Block, path: str) -> str:
        """Return the URL of a file that a row names. Raises RowRejected if it is not below the allowed URL."""
        allowed = (block.folder or self._source_folder or "").rstrip("/")
        url = path if remote.is_url(path) else f"{allowed}/{path}"
        if not (remote.is_url(allowed) and _is_below(url, allowed)):
            raise RowRejected(f"{path} is not below `folder`: set it to the URL that files may be read from")
        if block.folder is None and (part := find_hidden_part(_url_parts(url[len(allowed) :]))):
            raise RowRejected(_hidden_message(path, f"the hidden {part}"))
        if len(url) > _MAX_URL_CHARS:
            raise RowRejected(f"{path[:60]}… is too long for a URL")
        return url

    def _stat_url(self, url: str) -> remote.RemoteFileInfo | None:
        """Return a file's metadata from its server, or None if there is no such file.

        Raises InputError if the server fails, because that is not the row's fault.
        """
        try:
            # A redirect could leave the allowed URL.
            return remote.stat_url(url, follow_redirects=False)
        except IsADirectoryError as error:
            raise RowRejected(f"{url} {error.strerror}") from error
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            raise _unreadable_error(url, error) from error

    def _fetch_file(self, block: Block, path: str) -> tuple[AllowedFile, bytes]:
        url = self._resolve_url(block, path)
        facts = self._stat_url(url)
        if facts is None:
            raise RowRejected(f"{path} cannot be read: no such file")
        self._check_size(block, path, facts.size)
        try:
            with remote.open_url(url, follow_redirects=False) as raw:
                data = raw.readall()
            return AllowedFile(url, len(data), version=facts.version), data
        except OSError as error:
            raise _unreadable_error(url, error) from error

    @property
    def _source_folder(self) -> str | None:
        """The folder of the source's files, if its rows are files, because rows may attach those files."""
        if self.spec.source.type not in ("files", "text"):
            return None
        fixed = []
        for part in self.spec.source.path.split("/")[:-1]:
            if any(sign in part for sign in "*?["):
                break
            fixed.append(part)
        return "/".join(fixed) or None


def _is_remote(block: Block, path: str) -> bool:
    return remote.is_url(path) or remote.is_url(block.folder or "")


def _unreadable_error(url: str, error: OSError) -> InputError:
    return InputError([Problem(redact_passwords(url), f"cannot read: {error.strerror}")])


def _hidden_message(path: str, reason: str) -> str:
    return f"{path} leads to {reason}: if rows may attach it, set `folder` to the folder that holds it"


def _is_inside(file: Path, folder: Path) -> bool:
    """Return whether a file is in a folder, whatever other names the file system has for that folder."""
    try:
        real = file.resolve()
        return any(parent.samefile(folder) for parent in (real, *real.parents) if parent.exists())
    except OSError:
        return False


def _is_below(url: str, folder: str) -> bool:
    """Return whether a URL is below another, however it is escaped; URLs of local files never are."""
    if not url.startswith(f"{folder}/") or url.startswith(("file:", "local:")):
        return False
    return not any(part in (".", "..") for part in _url_parts(url[len(folder) :]))


def _url_parts(inner: str) -> Iterable[str]:
    """Return the parts of the path of a URL, however they are escaped."""
    path, before = re.split(r"[?#]", inner)[0], ""
    while path != before:
        path, before = unquote(path), path
    return re.split(r"[/\\]", path)
