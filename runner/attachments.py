"""Documents and images of a request: found, looked at, and encoded as the API takes them.

What is known of a file comes from its bytes, never from its name. Limits are in `models.yaml`.
"""

import base64
import binascii
import errno
import hashlib
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import msgspec

from runner import remote
from runner.errors import InputError, Problem
from runner.load import Load, Unsendable, limits, weighed
from runner.spec import Block, Spec, without_password

_LARGEST = 256_000_000
_HEAD = 4096
_HELD_BYTES = 8_000_000
_ENTRY_BYTES = 1_000
_REMEMBERED = 1_000
_HINT = ": make it smaller, or set `upload: true`"
ABSENT = -1
"""The size of a file that is not there."""


class Attached(NamedTuple):
    """A file that rows attach, as it was read: see `sources.InputFile` for the first five.

    If it goes through the Files API, `mark` stands in the place of its id until it has one.
    """

    path: str
    bytes: int
    mtime_ns: int
    sha256: str
    version: str
    mark: str | None = None
    media_type: str = ""


def mark_of(sha256: str, kind: str) -> str:
    """What stands for a file until it has an id, the same for the same bytes; as long as an id is."""
    return "upload_" + hashlib.sha256(f"{sha256} {kind}".encode()).hexdigest()[:24]


class _Read(NamedTuple):
    """A file: its path in the project, or elsewhere, its bytes, and its time of change or version."""

    path: str
    data: bytes
    mtime_ns: int = 0
    version: str = ""


class _Seen(NamedTuple):
    """What came of a file: the JSON of its source, or why it cannot be sent; and its load."""

    source: bytes
    load: Load
    problem: str | None = None

    @property
    def bytes(self) -> int:
        """About how much memory it takes."""
        return len(self.source) + _ENTRY_BYTES


@dataclass(slots=True)
class Attachments:
    """Encodes what the blocks of one spec name; `note` is told of each file, mostly once."""

    spec: Spec
    note: Callable[[Attached], None]
    _seen: dict[tuple[str, str | None, bool, str], _Seen] = field(default_factory=dict)
    _held: int = 0
    _noted: dict[Attached, None] = field(default_factory=dict)

    def source(self, block: Block, value: str, load: Load) -> bytes:
        """The JSON of a block's source, `value` being its rendered path, URL, base64, id or text.

        Raises Unsendable for what cannot be read, is not what the block takes, or is over a limit.
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
        """The source of a file, which is read once though many rows attach it, as long as memory stays small."""
        key = (block.type, block.folder, block.upload, path)
        seen = self._seen.pop(key, None)
        if seen is None:
            seen = self._look(block, path)
            self._held += seen.bytes
        # What was used last is let go last.
        self._seen[key] = seen
        while self._held > _HELD_BYTES:
            self._held -= self._seen.pop(next(iter(self._seen))).bytes
        if seen.problem is not None:
            raise Unsendable(seen.problem)
        load.add(seen.load)
        return seen.source

    def _note(self, attached: Attached) -> None:
        # What is too large to be held is read again, and known already.
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
        # Not above: an error that is looked into there would have the first one for a reason.
        self._note_unsent(block, path)
        return _Seen(b"", load, problem)

    def _of_file(self, block: Block, path: str, load: Load) -> bytes:
        found = self._read(block, path)
        kind = weighed(block, found.data, path, load)
        sha256 = hashlib.sha256(found.data).hexdigest()
        mark = mark_of(sha256, kind) if block.upload else None
        self._note(Attached(found.path, len(found.data), found.mtime_ns, sha256, found.version, mark, kind))
        if mark is None:
            return _inline(found.data, kind, load)
        load.extra += len(found.data) if kind == "text/plain" else 0
        return _encoded(_file(mark))

    def _note_unsent(self, block: Block, path: str) -> None:
        """Note a file that cannot be sent, as it is now: once it is another, its row is too."""
        try:
            if self._is_remote(block, path):
                url = self._url(block, path)
                facts = self._look_at(url)
                self._note(Attached(url, *((facts.size, 0, "", facts.version) if facts else (ABSENT, 0, "", ""))))
                return
            place = self._place(block, path)
            found = place.stat()
            self._note(Attached(self._shown(place), found.st_size, found.st_mtime_ns, "", ""))
        except Unsendable:
            # What leads out does so until the spec is edited.
            return
        except (OSError, ValueError, RuntimeError):
            self._note(Attached(str(Path(block.folder or ".") / path), ABSENT, 0, "", ""))

    def _shown(self, place: Path) -> str:
        """A place in the project, or elsewhere."""
        own = self.spec.root.resolve()
        return str(place.relative_to(own) if place.is_relative_to(own) else place)

    def _read(self, block: Block, path: str) -> _Read:
        """A file that a row names. Raises Unsendable, also for one outside the folders that it may be in."""
        try:
            if self._is_remote(block, path):
                return self._fetched(block, path)
            place = self._place(block, path)
            facts = place.stat()
            if not stat.S_ISREG(facts.st_mode):
                raise Unsendable(f"{path} is no regular file")
            self._check_size(block, path, facts.st_size)
            return _Read(self._shown(place), place.read_bytes(), facts.st_mtime_ns)
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise Unsendable(f"{path} cannot be read: {reason}") from error
        except ValueError as error:
            raise (
                error if isinstance(error, Unsendable) else Unsendable(f"{path!r} is no path: {error}")
            ) from error

    def _check_size(self, block: Block, path: str, size: int) -> None:
        """Raise Unsendable for a file that is too large, before it is read."""
        most = _LARGEST if block.upload else self.spec.batch.max_bytes * 3 // 4
        if size > most:
            raise Unsendable(f"{path} has {size:,} bytes, and {most:,} is the most" + _HINT * (not block.upload))

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

    @staticmethod
    def _is_remote(block: Block, path: str) -> bool:
        return remote.is_url(path) or remote.is_url(block.folder or "")

    def _url(self, block: Block, path: str) -> str:
        """The URL of a file that a row names. Raises Unsendable for one that is not where it may be."""
        allowed = (block.folder or self._source_folder or "").rstrip("/")
        url = path if remote.is_url(path) else f"{allowed}/{path}"
        if not (remote.is_url(allowed) and _is_below(url, allowed)):
            raise Unsendable(f"{path} is not below `folder`: set it to the URL that files may be read from")
        return url

    def _look_at(self, url: str) -> remote.Facts | None:
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

    def _fetched(self, block: Block, path: str) -> _Read:
        url = self._url(block, path)
        facts = self._look_at(url)
        if facts is None:
            raise Unsendable(f"{path} cannot be read: no such file")
        self._check_size(block, path, facts.size)
        try:
            with remote.open_raw(url, follows=False) as raw:
                return _Read(url, raw.readall(), version=facts.version)
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
    """The JSON of a source that holds the bytes themselves."""
    if kind == "text/plain":
        return _encoded({"type": "text", "media_type": kind, "data": data.decode()})
    encoded = base64.b64encode(data)
    load.extra -= len(encoded)
    return b'{"type":"base64","media_type":"%b","data":"%b"}' % (kind.encode(), encoded)
