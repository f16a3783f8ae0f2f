"""A run that is killed just before its n-th operation, for every n: `python -m tests.proofs.operations`.

An operation is whatever can survive the process: opening a file to write, fsync, a rename, a removal, a folder,
a statement of the database, bytes sent to the API, and bytes waited for from it. After each kill the same
command is given again; then no row may be paid twice, none be lost, and the state must be sound. With `sync` as
an argument the job sends its requests synchronously, and only what was in flight may be sent once more; a number
N tries every N-th.
"""

import os
import re
import socket
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from tests.support.outputs import outputs
from tests.support.processes import RUN, command, kill
from tests.support.projects import SPEC, write_job
from tests.support.simulator import answered, paid, simulator

ROWS, AGAIN = 6, 4
BATCH = {**SPEC["batch"], "max_requests": 3, "poll_seconds": 0.03, "grace_seconds": 0.1}
BILL = {**{("1", row): 1 for row in range(1, ROWS + 1)}, ("2", AGAIN): 1}
_EVENTS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
_PER_ROW = re.compile(
    r"(INSERT INTO|UPDATE) (temp\.)?(row|seen)\b|SELECT|PRAGMA|SAVEPOINT|RELEASE|--", re.IGNORECASE
)


def watch(number: int, log: str) -> None:
    """Write the name of each operation of this process to a log, and have it killed before the given one."""
    # Taken in one step: several threads call at once.
    numbers = count(1)
    names = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def operation(name: str) -> None:
        own = next(numbers)
        os.write(names, f"{' '.join(name.split())}\n".encode())
        if own == number:
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


CONCURRENCY = 2


def project(root: Path, mode: str) -> Iterator[tuple[Path, dict[str, str]]]:
    """A job of three batches, one row of which is sent again, with its simulator."""
    root.mkdir()
    write_job(
        root, rows=ROWS, batch=BATCH, mode=mode, sync={"concurrency": CONCURRENCY}, canary=int(mode == "sync")
    )
    fails = re.compile(rf".{{13}}-1-\d+-{AGAIN}")
    mix = lambda id: "errored" if fails.fullmatch(id) else "succeeded"  # noqa: E731
    with simulator(root / "api", seconds=0.02, mix=mix) as environ:
        yield root, environ


def is_billed_once(root: Path, mode: str) -> bool:
    """Return whether nothing was paid twice except synchronous requests in flight."""
    if mode == "batch":
        return paid(root / "api") == BILL
    sent = answered(root / "api")
    return len(set(sent)) == ROWS and len(sent) <= ROWS + CONCURRENCY and not (paid(root / "api"))


def survives(root: Path, number: int, expected: dict[str, str], mode: str = "batch") -> bool:
    """Kill a run before its n-th operation and let it go on; return whether it lived to have so many."""
    for folder, environ in project(root, mode):
        first = command(folder, environ, *RUN, before=partial(watch, number, str(root / "operations")))
        name = (root / "operations").read_text().splitlines()[-1]
        again = command(folder, environ, *RUN)
        assert again.returncode == 0, (number, name, again.stderr)
        assert is_billed_once(folder, mode), (number, name, paid(folder / "api"), answered(folder / "api"))
        assert settled(folder, mode) == expected, (number, name)
        examined = command(folder, environ, "doctor", "--remote")
        assert examined.returncode == 0, (number, name, examined.stdout)
        return first.returncode == -9
    raise AssertionError


def settled(root: Path, mode: str) -> dict[str, str]:
    """The outputs; synchronously it is chance which rows needed a second round."""
    found = outputs(root)
    return found if mode == "batch" else {"labels.csv": found["labels.csv"]}


def undisturbed(root: Path, mode: str = "batch") -> tuple[dict[str, str], int]:
    """The outputs of a run that nobody kills, and the number of its operations."""
    for folder, environ in project(root, mode):
        ended = command(folder, environ, *RUN, before=partial(watch, 0, str(root / "operations")))
        assert ended.returncode == 0, ended.stderr
        return settled(folder, mode), len((root / "operations").read_text().splitlines())
    raise AssertionError


def prove(folder: Path, numbers: Iterable[int], mode: str = "batch") -> int:
    """Kill a run before each of these operations; return how many were killed."""
    expected, _ = undisturbed(folder / "undisturbed", mode)
    return sum(survives(folder / str(number), number, expected, mode) for number in numbers)


def main() -> None:
    """Kill before every operation, or every STEP-th, until a run has no more of them."""
    words = sys.argv[1:]
    mode, step = "sync" if "sync" in words else "batch", next((int(word) for word in words if word.isdecimal()), 1)
    with tempfile.TemporaryDirectory() as name:
        expected, operations = undisturbed(Path(name) / "undisturbed", mode)
        print(f"{operations} operations")
        number = 1
        while survives(Path(name) / str(number), number, expected, mode):
            print(f"\rkilled before operation {number}, and went on", end="", flush=True)
            number += step
        print(f"\nrun {number} ended before its operation {number}: every kill before was survived")


if __name__ == "__main__":
    main()
