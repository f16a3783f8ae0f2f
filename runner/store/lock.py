"""The lock of a state folder, and the proof that this process still holds it.

A process can be suspended while it holds the lock: a closed lid, SIGSTOP, a moved virtual machine. On a network
file system, or in another container, somebody else may then get the lock. So each holder writes a name of its own
beside it, and looks for that name before it does what would be paid twice.
"""

import fcntl
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Protocol

from runner.errors import NotAccepted, StateLocked
from runner.files.atomic import open_private_file

# A body stands still for so long only if its process, or the whole machine, was suspended.
_MAX_PAUSE_SECONDS = 60.0
_MAX_CHECK_SECONDS = 1.0
# Whoever looks if the lock is free holds it for an instant.
_MAX_LOOK_SECONDS = 0.2


def read_clock() -> float:
    """Return seconds of a clock that counts the time for which the machine was suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Hold(Protocol):
    """A proof that other runners are kept out: the lock of a folder, or leases."""

    def check(self) -> None:
        """Raise StateLocked unless this process still has it."""


@dataclass(frozen=True, slots=True)
class HeldLock:
    """The lock of a folder as this process got it: the identity of its file, and the name of this holder.

    `is_exclusive` means that the system refuses the lock to everybody else, which not every file system does.
    """

    folder: Path
    identity: tuple[int, int]
    holder: str
    is_exclusive: bool

    def check(self) -> None:
        """Raise StateLocked unless this process still holds the lock; a suspended check is repeated."""
        while True:
            began = read_clock()
            if not self._is_held():
                raise StateLocked(
                    f"another runner has taken over {self.folder} while this one was suspended, or its files were "
                    "replaced: this one stops without sending anything more. Run again to see how the run stands"
                )
            if read_clock() - began < _MAX_CHECK_SECONDS:
                return

    def _is_held(self) -> bool:
        try:
            is_same_file = _identify(self.folder / "lock") == self.identity
            is_own = is_same_file and _read_holder(self.folder)[0] == self.holder
        except OSError:
            return False
        return is_own and not (self.is_exclusive and _is_free(self.folder / "lock"))


def _read_holder(folder: Path) -> tuple[str, str]:
    """Return the name of the last holder of a folder's lock, and a description for people. Raises OSError."""
    name, _, description = (folder / "holder").read_text("utf-8", "replace").partition("\n")
    return name, description.strip()


def describe_self() -> str:
    """Return a description of this process for people."""
    return f"process {os.getpid()} on {socket.gethostname()}, since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _describe_holder(folder: Path) -> str:
    try:
        description = _read_holder(folder)[1]
    except OSError:
        return ""
    return f" ({description})" if description else ""


def _identify(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _is_free(path: Path) -> bool:
    """Return whether anybody could lock the file now; this process is refused too while it holds the lock."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)


def is_in_use(folder: Path) -> bool:
    """Return whether a runner seems to use a state folder; true if that cannot be seen."""
    try:
        return not _is_free(folder / "lock")
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _is_unused(folder: Path) -> bool:
    return not is_in_use(folder)


@contextmanager
def lock_folder(folder: Path) -> Iterator[HeldLock]:
    """Lock a state folder against other runners until the end. Raises StateLocked."""
    # Imported here: it costs 0.1 s, and only commands that change the state need it.
    from filelock import FileLock, Timeout

    path = folder / "lock"
    lock = FileLock(path, timeout=_MAX_LOOK_SECONDS, mode=0o600)
    try:
        lock.acquire()
    except Timeout as error:
        found = f"another runner is using {folder}{_describe_holder(folder)}"
        raise StateLocked(f"{found}: wait until it finishes, or stop it", partial(_is_unused, folder)) from error
    try:
        holder = secrets.token_hex(16)
        with open_private_file(folder / "holder") as file:
            file.write(f"{holder}\n{describe_self()}\n".encode())
        yield HeldLock(folder, _identify(path), holder, is_exclusive=not _is_free(path))
    finally:
        lock.release()


@dataclass(slots=True)
class SendGuard:
    """Confirms, block by block, that a body may be sent on: the lock is held, and no block took too long.

    Another process may search, and send again, while this one is suspended. A body that is cut short is no batch.
    """

    lock: Hold | None
    last_block_at: float
    max_pause: float = _MAX_PAUSE_SECONDS

    def confirm(self) -> None:
        """Raise StateLocked if the lock is lost, or NotAccepted if the last block was sent too long ago."""
        if self.lock is not None:
            self.lock.check()
        now = read_clock()
        if now - self.last_block_at > self.max_pause:
            pause = now - self.last_block_at
            raise NotAccepted(f"this process stood still for {pause:.0f} s while it sent a batch, and broke off")
        self.last_block_at = now


def guard_sending(lock: Hold | None) -> SendGuard:
    """Return a guard for a body that is about to be sent."""
    return SendGuard(lock, read_clock())
