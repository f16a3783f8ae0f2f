"""Atomic, fsynced writes, optionally readable by the owner only."""

import filecmp
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_BUFFER = 1 << 20


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a rename is on disk only after its folder is synced."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_private_folder(folder: Path) -> None:
    """Create a folder durably if necessary, accessible to its owner only, whatever the umask."""
    if not folder.exists():
        if not folder.parent.exists():
            make_private_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        # All that is synced inside is lost with the name of the folder.
        sync_folder(folder.parent)
    folder.chmod(0o700)


def open_private_file(path: Path) -> BinaryIO:
    """Open an empty file for writing, readable by its owner only, whatever the umask."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "wb", _BUFFER)


def open_for_append(path: Path) -> BinaryIO:
    """Open a file for appending, readable by its owner only, whatever the umask."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "ab", _BUFFER)


@contextmanager
def atomic_write(path: Path, *, private: bool = False, skip_if_unchanged: bool = False) -> Iterator[BinaryIO]:
    """Write a temporary file and rename it over `path` at the end; an error leaves `path` unchanged.

    With `skip_if_unchanged`, `path` also stays unchanged, including its modification time, if it already has
    the same bytes. The temporary name is always the same, so a killed process leaves at most one file, which
    the next write overwrites.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open_private_file(temporary) if private else temporary.open("wb", buffering=_BUFFER) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if skip_if_unchanged and path.exists() and filecmp.cmp(temporary, path, shallow=False):
            temporary.unlink()
        else:
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
