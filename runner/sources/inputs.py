"""Input files as byte streams: globs, gzip and standard input, each file's digest taken while it is read."""

import glob
import gzip
import hashlib
import io
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any, BinaryIO, cast

from runner.errors import InputError, Problem

_BLOCK = 1 << 18


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file as it was read: its path in the project, size in bytes, time of change, and SHA-256.

    The digest is empty if a limit ended the reading before the end.
    """

    path: str
    bytes: int
    mtime_ns: int
    sha256: str


class _Hashing(io.RawIOBase):
    """A raw file that digests what passes through it."""

    def __init__(self, raw: io.FileIO) -> None:
        super().__init__()
        self.raw = raw
        self.sha256 = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self.raw.readinto(buffer) or 0
        self.sha256.update(memoryview(buffer)[:count])
        return count

    def drain(self) -> str:
        """Read what is left (a gzip trailer, or rows past a limit) and return the digest of it all."""
        block = bytearray(_BLOCK)
        while self.readinto(block):
            pass
        return self.sha256.hexdigest()


@dataclass(slots=True)
class Inputs:
    """Opens the files of a source, relative to `root`; `files` holds those that were read."""

    root: Path
    files: list[InputFile] = field(default_factory=list)
    current: str = ""

    def find(self, pattern: str) -> list[str]:
        """The files that a path or glob names, in name order.

        Raises InputError if there are none, or for one that cannot be looked at or recorded.
        """
        if pattern == "-" or self._is_file(pattern) or not glob.has_magic(pattern):
            return [pattern]
        names = glob.glob(pattern, root_dir=self.root, recursive=True)  # noqa: PTH207 - takes absolute patterns too
        found = sorted({name for name in names if self._is_file(name)})
        if not found:
            raise InputError([Problem(pattern, f"no file matches in {self.root}")])
        for name in found:
            shown = os.fsencode(name).decode(errors="replace")
            if shown != name:
                raise InputError([Problem(shown, "the name of the file is not UTF-8 text: rename it")])
        self._check_links(pattern, found)
        return found

    def _is_file(self, name: str) -> bool:
        try:
            return (self.root / name).is_file()
        except OSError as error:
            raise InputError([Problem(name, f"cannot read: {error.strerror}")]) from error

    def _check_links(self, pattern: str, found: list[str]) -> None:
        """Raise InputError if a link among the files that a pattern matches leads out of where it starts."""
        fixed = takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts)
        start = self.root.joinpath(*fixed).resolve()
        folders = {folder: folder.resolve() for folder in {(self.root / name).parent for name in found}}
        for name in found:
            path = self.root / name
            real = path.resolve() if path.is_symlink() else folders[path.parent]
            if not real.is_relative_to(start):
                raise InputError([Problem(name, f"is a link out of {start}: name what it leads to instead")])

    def open(self, pattern: str) -> Iterator[tuple[str, BinaryIO]]:
        """Yield (path, bytes) of each matching file, decompressed; each is closed when the next is asked for.

        Raises InputError for a file that changed while it was read, OSError for one that cannot be read.
        """
        for path in self.find(pattern):
            self.current = path
            if path == "-":
                hashing = _Hashing(_stdin())
                yield path, cast(BinaryIO, io.BufferedReader(hashing, _BLOCK))
                self.files.append(InputFile(path, 0, 0, hashing.drain()))
            else:
                yield from self._file(path)

    def places(self, pattern: str) -> Iterator[tuple[str, Path]]:
        """Yield (path, absolute path) of each matching file, for what opens files by itself.

        Raises InputError for a file that changed while it was read.
        """
        for path in self.find(pattern):
            self.current = path
            place = self.root / path
            before = place.stat()
            try:
                yield path, place
            except GeneratorExit:
                # A limit was reached.
                self.files.append(InputFile(path, before.st_size, before.st_mtime_ns, _sha256(place)))
                raise
            self._note(path, before, place.stat(), _sha256(place))

    def _note(self, path: str, before: os.stat_result, after: os.stat_result, digest: str) -> None:
        is_file = stat.S_ISREG(before.st_mode)
        if is_file and (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise InputError([Problem(path, "changed while it was read: run again once it is complete")])
        self.files.append(InputFile(path, after.st_size, after.st_mtime_ns, digest))

    def _file(self, path: str) -> Iterator[tuple[str, BinaryIO]]:
        with io.FileIO(self.root / path) as raw:
            before = os.fstat(raw.fileno())
            hashing = _Hashing(raw)
            stream = cast(BinaryIO, io.BufferedReader(hashing, _BLOCK))
            try:
                yield (
                    path,
                    cast(BinaryIO, gzip.GzipFile(fileobj=stream)) if path.lower().endswith(".gz") else stream,
                )
            except GeneratorExit:
                # A limit was reached: hashing the rest could take longer than the run.
                self.files.append(InputFile(path, before.st_size, before.st_mtime_ns, ""))
                raise
            digest = hashing.drain()
            after = os.fstat(raw.fileno())
        self._note(path, before, after, digest)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(root: Path, pattern: str) -> str:
    """A digest of the files that a path or glob names; empty if they can be read once only. Raises InputError."""
    paths = [] if pattern == "-" else Inputs(root).find(pattern)
    if not all((root / path).is_file() for path in paths):
        return ""
    found = hashlib.sha256()
    try:
        for path in paths:
            with (root / path).open("rb") as file:
                found.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise InputError([Problem(path, f"cannot read: {error.strerror}")]) from error
    return found.hexdigest() if paths else ""


def _stdin() -> io.FileIO:
    if sys.stdin is None:
        raise InputError([Problem("-", "standard input is closed")])
    # A copy of the descriptor: it is closed with the stream that is made of it.
    return io.FileIO(os.dup(sys.stdin.fileno()))


def changed(root: Path, pattern: str, recorded: Iterable[InputFile], *, is_limited: bool = False) -> list[str]:
    """The input files that are not what was recorded: edited, gone or new.

    If a limit ended the reading, files that it did not reach are not new. Standard input is read to compare it,
    unless it is a terminal.
    """
    if pattern == "-":
        same = is_limited or (not sys.stdin.isatty() and _Hashing(_stdin()).drain() == _digest_of(recorded))
        return [] if same else ["standard input"]
    before = {file.path: file for file in recorded}
    try:
        now = Inputs(root).find(pattern)
    except InputError:
        now = []
    differ = {path for path in now if path in before and not _same(root / path, before[path])}
    if not is_limited:
        differ |= set(now) - set(before)
    return sorted(differ | (set(before) - set(now)))


def _digest_of(recorded: Iterable[InputFile]) -> str:
    return next((file.sha256 for file in recorded), "")


def _same(path: Path, recorded: InputFile) -> bool:
    try:
        now = path.stat()
        if now.st_size != recorded.bytes:
            return False
        log = path.with_name(f"{path.name}-wal")
        if log.exists() and log.stat().st_size:
            # What SQLite has committed there is not yet in the database itself.
            return False
        return now.st_mtime_ns == recorded.mtime_ns or _sha256(path) == recorded.sha256
    except OSError:
        return False
