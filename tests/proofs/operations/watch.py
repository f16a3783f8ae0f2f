"""The operations of a process: all that it does which can survive it, in the order in which it does it."""

import os
import re
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from tests.support.processes import kill

_EVENTS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
_PER_ROW = re.compile(
    r"(INSERT INTO|UPDATE) (temp\.)?(row|seen)\b|SELECT|PRAGMA|SAVEPOINT|RELEASE|--", re.IGNORECASE
)
_OBJECT_CALLS = ("put", "get", "head", "list", "list_with_delimiter", "delete")


def kind_of(name: str) -> str:
    """Return the kind of an operation: what it is done to, and what is done."""
    return " ".join(name.split()[:2])


@dataclass(frozen=True)
class _Operations:
    """The operations of this process, whose names are written to a file; before one of them it is killed."""

    last: int
    names: int
    # Taken in one step: several threads call at once.
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def begin(self, name: str) -> None:
        own = next(self.numbers)
        os.write(self.names, f"{' '.join(name.split())}\n".encode())
        if own == self.last:
            kill(os.getpid())

    def announce(self, owner: Any, function: str, describe: Callable[..., str]) -> None:
        """Have each call of a function begin an operation."""
        call: Callable[..., Any] = getattr(owner, function)

        def announced(*args: Any, **named: Any) -> Any:
            self.begin(describe(*args))
            return call(*args, **named)

        setattr(owner, function, announced)


def watch(number: int, log: str, *, is_shared: bool = False) -> None:
    """Write the name of each operation of this process to a log, and have it killed before the given one."""
    # The process is the test's own: what it is made to call are the functions of Python and of the drivers, each
    # announced.
    operations = _Operations(number, os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
    _watch_sqlite(operations)
    for name in ("send", "sendall", "recv"):
        operations.announce(socket.socket, name, lambda *_, name=name: f"api {name}")
    if is_shared:
        _watch_postgres(operations)
        _watch_objects(operations)
    # Last, since a module that is imported may be compiled to a file.
    _watch_files(operations)


def _is_write(file: Any, _: Any, flags: Any) -> bool:
    # A descriptor is open already.
    return not isinstance(file, int) and isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))


def _watch_files(operations: _Operations) -> None:
    def seen(event: str, args: tuple[Any, ...]) -> None:
        if event in _EVENTS or (event == "open" and _is_write(*args)):
            operations.begin(f"file {event.removeprefix('os.')} {Path(str(args[0])).name}")

    operations.announce(os, "fsync", lambda _: "file fsync")
    sys.addaudithook(seen)


def _watch_sqlite(operations: _Operations) -> None:
    connected: Any = sqlite3.connect

    def connect(*args: Any, **named: Any) -> Any:
        connection = connected(*args, **named)
        connection.set_trace_callback(
            lambda text: None if _PER_ROW.match(text) else operations.begin(f"sqlite {text[:40]}")
        )
        return connection

    sqlite3.connect = connect


def _watch_postgres(operations: _Operations) -> None:
    import psycopg

    def describe(_: Any, statement: bytes | str, *__: Any) -> str:
        text = statement.decode() if isinstance(statement, bytes) else statement
        return f"postgres {text[:60]}"

    operations.announce(psycopg, "connect", lambda *_: "postgres connect")
    for name in ("execute", "executemany"):
        operations.announce(psycopg.Cursor, name, describe)


def _watch_objects(operations: _Operations) -> None:
    import obstore

    for name in _OBJECT_CALLS:
        operations.announce(
            obstore, name, lambda _, *at, name=name: f"objects {name} {' '.join(map(str, at))[:60]}"
        )
