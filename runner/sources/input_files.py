"""Input files as byte streams: globs, URLs and standard input. Each file is hashed while it is read."""

import glob
import hashlib
import io
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Any, BinaryIO, cast

from runner.errors import InputError, Problem
from runner.files import remote
from runner.files.compression import decompress
from runner.files.digest import sha256_of
from runner.files.extras import missing_package_message
from runner.files.markers import is_marker
from runner.files.regular import check_regular_file, is_own_descriptor
from runner.files.signatures import describe_binary, peek
from runner.spec.redact import redact_passwords

_BLOCK_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file that was read: its path in the project, size in bytes, modification time, and SHA-256.

    The digest is empty if reading stopped at a limit, or if only the head of a remote file was read. A remote file
    has a `version` instead of a modification time; it is empty if the server provides none.
    """

    path: str
    bytes: int
    mtime_ns: int
    sha256: str
    version: str = ""


class HashingReader(io.RawIOBase):
    """A raw file that computes the SHA-256 of the bytes read through it."""

    def __init__(self, raw: io.RawIOBase) -> None:
        super().__init__()
        self.raw = raw
        self.sha256 = hashlib.sha256()

    def readable(self) -> bool:
        """Return True, as `io` asks of a raw file."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into `buffer`, add the bytes to the digest, and return their number."""
        count = self.raw.readinto(buffer) or 0
        self.sha256.update(memoryview(buffer)[:count])
        return count

    def drain(self) -> str:
        """Read the rest, for example a gzip trailer, and return the digest of the whole file."""
        block = bytearray(_BLOCK_BYTES)
        while self.readinto(block):
            pass
        return self.sha256.hexdigest()


@dataclass(slots=True)
class Inputs:
    """Access to the files of a source, relative to `root`.

    `files` lists the files that were read, and `current_path` is the file being read. `types` maps the names of
    columns with a known type to their JSON schemas. `columns` are those that the spec takes; it is empty for all.
    `selected_rows` is the number of rows from which those of a pilot were drawn.
    """

    root: Path
    files: list[InputFile] = field(default_factory=list)
    current_path: str = ""
    types: dict[str, Any] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    selected_rows: int | None = None

    def find_files(self, pattern: str) -> list[str]:
        """Return the files that match a path or glob, sorted by name.

        Raises InputError if a glob matches none, or if a file cannot be inspected or its name cannot be recorded.
        """
        if remote.is_url(pattern):
            return self._find_remote(pattern)
        if pattern == "-" or self._is_file(pattern):
            return [pattern]
        if not glob.has_magic(pattern):
            self._check_special(pattern)
            return [pattern]
        names = glob.glob(pattern, root_dir=self.root, recursive=True)  # noqa: PTH207 - accepts absolute patterns too
        found = sorted({name for name in names if self._is_file(name) and not is_marker(name)})
        if not found:
            raise InputError([Problem(pattern, f"no file matches in {self.root}")])
        for name in found:
            shown = os.fsencode(name).decode(errors="replace")
            if shown != name:
                raise InputError([Problem(shown, "the file name is not valid UTF-8: rename the file")])
        self._check_links(pattern, found)
        return found

    def _find_remote(self, pattern: str) -> list[str]:
        if (missing := missing_package_message("data")) is not None:
            raise InputError([Problem(redact_passwords(pattern), missing)])
        try:
            found = remote.find_urls(pattern)
        except OSError as error:
            shown = redact_passwords(str(error.strerror))
            raise InputError([Problem(redact_passwords(pattern), f"cannot read: {shown}")]) from error
        if not found:
            raise InputError([Problem(redact_passwords(pattern), "no file matches")])
        return found

    def _is_file(self, name: str) -> bool:
        try:
            return (self.root / name).is_file()
        except OSError as error:
            raise InputError([Problem(name, f"cannot read: {error.strerror}")]) from error

    def _check_special(self, name: str) -> None:
        """Raise InputError for a folder, pipe or device, unless this process has it open, like standard input."""
        path = self.root / name
        if path.exists() and not is_own_descriptor(path):
            try:
                check_regular_file(path)
            except OSError as error:
                pattern = f": name the files in it, for example `{name}/*`"
                remedy = pattern if path.is_dir() else ', or send it to standard input (`path: "-"`)'
                raise InputError([Problem(name, f"cannot read: {error.strerror}{remedy}")]) from error

    def _check_links(self, pattern: str, found: list[str]) -> None:
        """Raise InputError if a matched file is a link to a place outside the fixed part of the pattern."""
        fixed = takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts)
        start = self.root.joinpath(*fixed).resolve()
        folders = {folder: folder.resolve() for folder in {(self.root / name).parent for name in found}}
        for name in found:
            path = self.root / name
            real = path.resolve() if path.is_symlink() else folders[path.parent]
            if not real.is_relative_to(start):
                raise InputError([Problem(name, f"is a link to a file outside {start}: name its target instead")])

    def open_files(self, pattern: str) -> Generator[tuple[str, BinaryIO]]:
        """Yield (path, stream) of each matching text, decompressed. Each is closed when the next is requested.

        Raises InputError if a file changed while it was read or is no text, and OSError if it cannot be read.
        """
        for path, stream in self._open_each(pattern):
            if (wrong := describe_binary(path, peek(stream))) is not None:
                raise InputError([Problem(path, wrong)])
            yield path, stream

    def _open_each(self, pattern: str) -> Iterator[tuple[str, BinaryIO]]:
        for path in self.find_files(pattern):
            self.current_path = path
            if path == "-":
                hashing = HashingReader(open_stdin())
                yield path, cast(BinaryIO, io.BufferedReader(hashing, _BLOCK_BYTES))
                self.files.append(InputFile(path, 0, 0, hashing.drain()))
            elif remote.is_url(path):
                yield from self._open_remote(path)
            else:
                yield from self._open_local(path)

    def open_seekable(self, pattern: str) -> Iterator[tuple[str, BinaryIO]]:
        """Yield (path, seekable file) of each matching file. Each is closed when the next is requested.

        Raises InputError if a file changed while it was read, and OSError if it cannot be read.
        """
        if not remote.is_url(pattern):
            for path, place in self.local_paths(pattern):
                with place.open("rb") as file:
                    yield path, file
            return
        for url in self.find_files(pattern):
            self.current_path = redact_passwords(url)
            before = remote.stat_url(url)
            # Not every server supports seeking in a file, so a copy is made first.
            with remote.open_url(url) as raw, tempfile.TemporaryFile() as file:
                hashing = HashingReader(raw)
                shutil.copyfileobj(hashing, file, _BLOCK_BYTES)
                file.seek(0)
                self._record_remote_file(url, before, hashing.drain())
                yield self.current_path, cast(BinaryIO, file)

    def read_heads(self, pattern: str, size: int) -> Iterator[tuple[str, bytes, int, str | None]]:
        """Yield (path, first bytes, size in bytes, modification time in ISO format) of each matching file.

        Raises InputError if a file changed while it was read, and OSError if it cannot be read.
        """
        for path in self.find_files(pattern):
            self.current_path = redact_passwords(path)
            if remote.is_url(path):
                facts = remote.stat_url(path)
                with remote.open_url(path) as raw:
                    head = raw.read(size) or b""
                self.files.append(InputFile(self.current_path, facts.size, 0, "", facts.version))
                yield path, head, facts.size, facts.modified_at
                continue
            for _, stream in self._open_local(path, should_decompress=False):
                head = stream.read(size)
            known = self.files[-1]
            modified = datetime.fromtimestamp(known.mtime_ns // 1_000_000_000, UTC).isoformat()
            yield path, head, known.bytes, modified

    def local_paths(self, pattern: str) -> Iterator[tuple[str, Path]]:
        """Yield (path, absolute path) of each matching file, for libraries that open files themselves.

        Raises InputError if a file changed while it was read.
        """
        if pattern == "-":
            raise InputError([Problem("-", "this source cannot read standard input: name a file")])
        if remote.is_url(pattern):
            raise InputError([Problem(pattern, "must be a file on this machine")])
        for path in self.find_files(pattern):
            self.current_path = path
            place = self.root / path
            before = place.stat()
            try:
                yield path, place
            except GeneratorExit:
                # A limit was reached: hashing the whole file could take longer than the run.
                self.files.append(InputFile(path, before.st_size, before.st_mtime_ns, ""))
                raise
            self._record_file(path, before, place.stat(), sha256_of(place))

    def _record_file(self, path: str, before: os.stat_result, after: os.stat_result, digest: str) -> None:
        is_file = stat.S_ISREG(before.st_mode)
        if is_file and (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise InputError([Problem(path, "changed while it was read: run again once it is complete")])
        self.files.append(InputFile(path, after.st_size, after.st_mtime_ns, digest))

    def _open_remote(self, url: str) -> Iterator[tuple[str, BinaryIO]]:
        self.current_path = redact_passwords(url)
        before = remote.stat_url(url)
        with remote.open_url(url) as raw:
            hashing = HashingReader(raw)
            stream = cast(BinaryIO, io.BufferedReader(hashing, _BLOCK_BYTES))
            try:
                yield self.current_path, decompress(url, stream)
            except GeneratorExit:
                self.files.append(InputFile(redact_passwords(url), before.size, 0, "", before.version))
                raise
            digest = hashing.drain()
        self._record_remote_file(url, before, digest)

    def _record_remote_file(self, url: str, before: remote.RemoteFileInfo, digest: str) -> None:
        now = remote.stat_url(url, refresh=True)
        if (before.size, before.version) != (now.size, now.version):
            message = "changed while it was read: run again once it is complete"
            raise InputError([Problem(redact_passwords(url), message)])
        self.files.append(InputFile(redact_passwords(url), before.size, 0, digest, before.version))

    def _open_local(self, path: str, *, should_decompress: bool = True) -> Iterator[tuple[str, BinaryIO]]:
        with io.FileIO(self.root / path) as raw:
            before = os.fstat(raw.fileno())
            hashing = HashingReader(raw)
            stream = cast(BinaryIO, io.BufferedReader(hashing, _BLOCK_BYTES))
            try:
                yield path, decompress(path, stream) if should_decompress else stream
            except GeneratorExit:
                # A limit was reached: hashing the rest could take longer than the run.
                self.files.append(InputFile(path, before.st_size, before.st_mtime_ns, ""))
                raise
            digest = hashing.drain()
            after = os.fstat(raw.fileno())
        self._record_file(path, before, after, digest)


def open_stdin() -> io.FileIO:
    """Return standard input as a file that the caller reads and closes. Raises InputError if it is closed."""
    if sys.stdin is None:
        raise InputError([Problem("-", "standard input is closed")])
    # Duplicate the descriptor, because it is closed together with the returned file.
    return io.FileIO(os.dup(sys.stdin.fileno()))
