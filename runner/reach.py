"""The files that rows name: found only where they may be, on this machine or behind a URL."""

import errno
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from runner import remote
from runner.errors import InputError, Problem
from runner.load import Unsendable
from runner.spec import Block, Spec, without_password

_LARGEST = 256_000_000
_LONGEST_URL = 8_000
_HINT = ": make it smaller, or set `upload: true`"
ABSENT = -1
"""The size of a file that is not there."""


class File(NamedTuple):
    """A file: its path in the project, or elsewhere, its size in bytes, and its time of change or version."""

    path: str
    bytes: int
    mtime_ns: int = 0
    version: str = ""


@dataclass(frozen=True, slots=True)
class Reach:
    """What the rows of one spec may attach."""

    spec: Spec

    def read(self, block: Block, path: str) -> tuple[File, bytes]:
        """A file that a row names, and its bytes.

        Raises Unsendable, also for one outside the folders that it may be in, and InputError if a server does not
        say: that is not the fault of the row.
        """
        try:
            if _is_remote(block, path):
                return self._fetched(block, path)
            place = self._place(block, path)
            facts = place.stat()
            if not stat.S_ISREG(facts.st_mode):
                raise Unsendable(f"{path} is no regular file")
            self._check_size(block, path, facts.st_size)
            data = place.read_bytes()
            return File(self._shown(place), len(data), facts.st_mtime_ns), data
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise Unsendable(f"{path} cannot be read: {reason}") from error
        except ValueError as error:
            raise (
                error if isinstance(error, Unsendable) else Unsendable(f"{path!r} is no path: {error}")
            ) from error

    def state(self, block: Block, path: str) -> File | None:
        """What is known of a file without its bytes, as it is now; None for one outside where it may be.

        One that is not there has the size ABSENT.
        """
        try:
            if _is_remote(block, path):
                url = self._url(block, path)
                facts = self._look(url)
                return File(url, ABSENT) if facts is None else File(url, facts.size, version=facts.version)
            place = self._place(block, path)
            found = place.stat()
            return File(self._shown(place), found.st_size, found.st_mtime_ns)
        except Unsendable:
            # What leads out does so until the spec is edited.
            return None
        except (OSError, ValueError, RuntimeError):
            return File(str(Path(block.folder or ".") / path), ABSENT)

    def _check_size(self, block: Block, path: str, size: int) -> None:
        """Raise Unsendable for a file that is too large, before it is read."""
        most = _LARGEST if block.upload else self.spec.batch.max_bytes * 3 // 4
        if size > most:
            raise Unsendable(f"{path} has {size:,} bytes, and {most:,} is the most" + _HINT * (not block.upload))

    def _shown(self, place: Path) -> str:
        """A place in the project, or elsewhere."""
        own = self.spec.root.resolve()
        return str(place.relative_to(own) if place.is_relative_to(own) else place)

    def _place(self, block: Block, path: str) -> Path:
        folders = [self.spec.root / (block.folder or ".")]
        if not folders[0].is_dir():
            raise Unsendable(f"the folder {block.folder} is not there")
        if block.folder is None and self._source_folder and not remote.is_url(self._source_folder):
            folders.append(self.spec.root / self._source_folder)
        place = (folders[0] / path).resolve()
        if not any(place.is_relative_to(folder.resolve()) for folder in folders):
            raise Unsendable(f"{path} leads out of {folders[0].resolve()}: set `folder` to where files may be")
        return place

    def _url(self, block: Block, path: str) -> str:
        """The URL of a file that a row names. Raises Unsendable for one that is not where it may be."""
        allowed = (block.folder or self._source_folder or "").rstrip("/")
        url = path if remote.is_url(path) else f"{allowed}/{path}"
        if not (remote.is_url(allowed) and _is_below(url, allowed)):
            raise Unsendable(f"{path} is not below `folder`: set it to the URL that files may be read from")
        if len(url) > _LONGEST_URL:
            raise Unsendable(f"{path[:60]}… is too long for a URL")
        return url

    def _look(self, url: str) -> remote.Facts | None:
        """What a server says of a file, or None if it is not there.

        Raises InputError if the server does not say: that is not the fault of the row.
        """
        try:
            # A redirect may lead anywhere.
            return remote.look(url, follows=False)
        except IsADirectoryError as error:
            raise Unsendable(f"{url} {error.strerror}") from error
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            raise _unreadable(url, error) from error

    def _fetched(self, block: Block, path: str) -> tuple[File, bytes]:
        url = self._url(block, path)
        facts = self._look(url)
        if facts is None:
            raise Unsendable(f"{path} cannot be read: no such file")
        self._check_size(block, path, facts.size)
        try:
            with remote.open_raw(url, follows=False) as raw:
                data = raw.readall()
            return File(url, len(data), version=facts.version), data
        except OSError as error:
            raise _unreadable(url, error) from error

    @property
    def _source_folder(self) -> str | None:
        """The folder that the files of the source are in, if its rows are files: they may be attached."""
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


def _unreadable(url: str, error: OSError) -> InputError:
    return InputError([Problem(without_password(url), f"cannot read: {error.strerror}")])


def _is_below(url: str, folder: str) -> bool:
    """Whether a URL stays below another, however it is written; one of this machine's files never does."""
    if not url.startswith(f"{folder}/") or url.startswith(("file:", "local:")):
        return False
    path, before = re.split(r"[?#]", url[len(folder) :])[0], ""
    while path != before:
        path, before = unquote(path), path
    return not any(part in (".", "..") for part in re.split(r"[/\\]", path))
