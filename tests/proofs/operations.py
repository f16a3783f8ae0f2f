"""A run that is killed just before its n-th operation, for every n: `python -m tests.proofs.operations [STEP]`.

An operation is whatever can survive the process: opening a file to write, fsync, a rename, a removal, a folder, a
statement of the database, bytes sent to the API, and bytes waited for from it. After each kill the same command is
given again; then no row may be paid twice, none be lost, and the state must be sound.
"""

import os
import re
import socket
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.jobs import SPEC, command, kill, outputs, paid, simulator, write_job

RUN = ("run", "job.yaml", "--yes")
ROWS, AGAIN = 6, 4
BATCH = {**SPEC["batch"], "max_requests": 3, "poll_seconds": 0.03, "grace_seconds": 0.1}
BILL = {**{("1", row): 1 for row in range(1, ROWS + 1)}, ("2", AGAIN): 1}
_EVENTS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
_PER_ROW = re.compile(
    r"(INSERT INTO|UPDATE) (temp\.)?(row|seen)\b|SELECT|PRAGMA|SAVEPOINT|RELEASE|--", re.IGNORECASE
)


def watch(number: int, log: str) -> None:
    """Write the name of each operation of this process to a log, and have it killed before the given one."""
    count = 0
    names = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def operation(name: str) -> None:
        nonlocal count
        count += 1
        os.write(names, f"{' '.join(name.split())}\n".encode())
        if count == number:
            kill(os.getpid())

    def seen(event: str, args: tuple[Any, ...]) -> None:
        if event in _EVENTS or (
            event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        ):
            operation(f"{event} {Path(str(args[0])).name}")

    def connect(*args: Any, **named: Any) -> Any:
        connection = connected(*args, **named)
        connection.set_trace_callback(lambda text: None if _PER_ROW.match(text) else operation(text[:40]))
        return connection

    def before(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def watched(*args: Any, **named: Any) -> Any:
            operation(name)
            return function(*args, **named)

        return watched

    # The process is the test's own: what it is made to call are the functions of Python, each announced.
    os.fsync = before(os.fsync, "fsync")
    connected: Any = sqlite3.connect
    sqlite3.connect = connect
    for name in ("send", "sendall", "recv"):
        setattr(socket.socket, name, before(getattr(socket.socket, name), name))
    sys.addaudithook(seen)


def project(root: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """A job of three batches, one row of which is sent again, with its simulator."""
    root.mkdir()
    write_job(root, rows=ROWS, batch=BATCH)
    fails = re.compile(rf".{{13}}-1-\d+-{AGAIN}")
    mix = lambda id: "errored" if fails.fullmatch(id) else "succeeded"  # noqa: E731
    with simulator(root / "api", seconds=0.02, mix=mix) as environ:
        yield root, environ


def survives(root: Path, number: int, expected: dict[str, str]) -> bool:
    """Kill a run before its n-th operation and let it go on; return whether it lived to have so many."""
    for folder, environ in project(root):
        first = command(folder, environ, *RUN, before=partial(watch, number, str(root / "operations")))
        name = (root / "operations").read_text().splitlines()[-1]
        again = command(folder, environ, *RUN)
        assert again.returncode == 0, (number, name, again.stderr)
        assert paid(folder / "api") == BILL, (number, name, paid(folder / "api"))
        assert outputs(folder) == expected, (number, name)
        examined = command(folder, environ, "doctor", "--remote")
        assert examined.returncode == 0, (number, name, examined.stdout)
        return first.returncode == -9
    raise AssertionError


def undisturbed(root: Path) -> tuple[dict[str, str], int]:
    """The outputs of a run that nobody kills, and the number of its operations."""
    for folder, environ in project(root):
        ended = command(folder, environ, *RUN, before=partial(watch, 0, str(root / "operations")))
        assert ended.returncode == 0, ended.stderr
        return outputs(folder), len((root / "operations").read_text().splitlines())
    raise AssertionError


def prove(folder: Path, numbers: Iterable[int]) -> int:
    """Kill a run before each of these operations; return how many were killed."""
    expected, _ = undisturbed(folder / "undisturbed")
    return sum(survives(folder / str(number), number, expected) for number in numbers)


def main() -> None:
    """Kill before every operation, or every STEP-th, until a run has no more of them."""
    step = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    with tempfile.TemporaryDirectory() as name:
        expected, count = undisturbed(Path(name) / "undisturbed")
        print(f"{count} operations")
        number = 1
        while survives(Path(name) / str(number), number, expected):
            print(f"\rkilled before operation {number}, and went on", end="", flush=True)
            number += step
        print(f"\nrun {number} ended before its operation {number}: every kill before was survived")


if __name__ == "__main__":
    main()
