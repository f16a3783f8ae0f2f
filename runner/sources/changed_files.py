"""Comparison of input files with their state when a run read them."""

import errno
import hashlib
import stat
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from runner.errors import InputError, Problem
from runner.files import remote
from runner.files.digest import sha256_of
from runner.files.regular import is_own_descriptor
from runner.sources.input_files import HashingReader, InputFile, Inputs, open_stdin
from runner.spec.redact import redact_passwords


def digest_files(root: Path, pattern: str) -> str:
    """Return a digest of the files that match a path or glob. Raises InputError.

    It is empty if a file can be read only once, such as standard input. For remote files it is a digest of their
    versions, and empty if one has no version.
    """
    if remote.is_url(pattern):
        return _digest_versions(root, pattern)
    paths = [] if pattern == "-" else Inputs(root).find_files(pattern)
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


def is_read_once(root: Path, pattern: str) -> bool:
    """Return whether a path stands for something that can be read only once, such as standard input or a pipe."""
    if pattern == "-" or remote.is_url(pattern):
        return pattern == "-"
    try:
        return any(not (root / path).is_file() for path in Inputs(root).find_files(pattern))
    except InputError:
        return False


def _digest_versions(root: Path, pattern: str) -> str:
    found = hashlib.sha256()
    for url in Inputs(root).find_files(pattern):
        try:
            facts = remote.stat_url(url)
        except OSError as error:
            raise InputError([Problem(redact_passwords(url), f"cannot read: {error.strerror}")]) from error
        if not facts.version:
            return ""
        found.update(f"{url} {facts.size} {facts.version}\n".encode())
    return found.hexdigest()


def find_changed_files(
    root: Path, pattern: str, recorded: Iterable[InputFile], *, is_limited: bool = False
) -> list[str]:
    """Return the input files that differ from the recorded ones: edited, deleted or new.

    If a limit ended the reading, files that it did not reach do not count as new. Standard input is read for the
    comparison, unless it is a terminal.
    """
    if pattern == "-":
        same = is_limited or (
            not sys.stdin.isatty() and HashingReader(open_stdin()).drain() == _recorded_digest(recorded)
        )
        return [] if same else ["standard input"]
    before = {file.path: file for file in recorded}
    try:
        now = {redact_passwords(path): path for path in Inputs(root).find_files(pattern)}
    except InputError:
        now = {}
    kept = [(replace(before[shown], path=path), shown) for shown, path in now.items() if shown in before]
    differ = {shown for file, shown in kept if not is_unchanged(root, file)}
    if not is_limited:
        differ |= now.keys() - before.keys()
    return sorted(differ | (before.keys() - now.keys()))


def _recorded_digest(recorded: Iterable[InputFile]) -> str:
    return next((file.sha256 for file in recorded), "")


def is_unchanged(root: Path, recorded: InputFile, *, follow_redirects: bool = True) -> bool:
    """Return whether a file is unchanged since it was recorded; a negative size records a missing file.

    With `follow_redirects`, redirects of a web server are followed; it must be as it was when the file was
    recorded. Raises InputError if a server does not answer.
    """
    path = root / recorded.path
    try:
        if remote.is_url(recorded.path):
            return _is_remote_unchanged(recorded, follow_redirects=follow_redirects)
        if recorded.bytes < 0:
            return not path.exists()
        now = path.stat()
        if now.st_size != recorded.bytes or not (stat.S_ISREG(now.st_mode) or is_own_descriptor(path)):
            return False
        log = path.with_name(f"{path.name}-wal")
        if log.exists() and log.stat().st_size:
            # SQLite has committed changes to this log that are not in the database file yet.
            return False
        return now.st_mtime_ns == recorded.mtime_ns or sha256_of(path) == recorded.sha256
    except (OSError, ValueError, RuntimeError):
        return recorded.bytes < 0


def _is_remote_unchanged(recorded: InputFile, *, follow_redirects: bool) -> bool:
    try:
        now = remote.stat_url(recorded.path, follow_redirects=follow_redirects)
    except OSError as error:
        if error.errno != errno.ENOENT:
            shown = redact_passwords(recorded.path)
            raise InputError([Problem(shown, f"cannot read: {error.strerror}")]) from error
        return recorded.bytes < 0
    if now.size != recorded.bytes or now.version != recorded.version:
        return False
    if now.version or not recorded.sha256:
        return True
    with remote.open_url(recorded.path, follow_redirects=follow_redirects) as raw:
        return HashingReader(raw).drain() == recorded.sha256
