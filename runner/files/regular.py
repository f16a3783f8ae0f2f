"""Regular files: reading anything else may wait or go on for ever."""

import errno
import os
import re
import stat
from pathlib import Path

_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


_OWN_DESCRIPTOR = re.compile(r"/dev/stdin|(/dev/fd|/proc/self/fd)/[0-9]+")


def check_regular_file(path: Path) -> None:
    """Raise OSError if there is no file at a path, or if it is a folder, a pipe or a device."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "of another kind")
        message = f"it is {kind}, not a regular file: copy its content to a file"
        raise OSError(errno.EINVAL, message, str(path))


def is_own_descriptor(path: Path) -> bool:
    """Return whether a path stands for a file that this process has open: standard input, or a shell's `<(…)`."""
    return _OWN_DESCRIPTOR.fullmatch(str(path)) is not None


def read_regular_file(path: Path) -> bytes:
    """Return the bytes of a regular file. Raises OSError."""
    check_regular_file(path)
    return path.read_bytes()
