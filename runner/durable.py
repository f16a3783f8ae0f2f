"""Files that appear whole or not at all, outlive a power failure, and are their owner's alone if asked."""

import filecmp
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_BUFFER = 1 << 20


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a rename is on disk only once its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def private_folder(folder: Path) -> None:
    """Make a folder if need be; only its owner may look into it, whatever the umask."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)


def private_file(path: Path) -> BinaryIO:
    """Open a file for writing, emptied; only its owner may read it, whatever the umask."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "wb", _BUFFER)


def appending(path: Path) -> BinaryIO:
    """Open a file to write at its end; only its owner may read it, whatever the umask."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "ab", _BUFFER)


@contextmanager
def replacing(path: Path, *, private: bool = False, keeps_same: bool = False) -> Iterator[BinaryIO]:
    """Write a file beside `path` and rename it over `path` at the end; after an error `path` is untouched.

    With `keeps_same` it is untouched too, its time included, if it has the same bytes already.
    The temporary name is always the same, so that what a killed process left is overwritten, not collected.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with private_file(temporary) if private else temporary.open("wb", buffering=_BUFFER) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if keeps_same and path.exists() and filecmp.cmp(temporary, path, shallow=False):
            temporary.unlink()
        else:
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
