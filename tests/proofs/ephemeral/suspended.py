"""Runners that are suspended in the middle of a create until another one has taken over their lease, and go on."""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tests.proofs.ephemeral.machines import WAIT, as_project, make_machine
from tests.support.processes import RUN, command, end, nothing, start, suspended_at_body
from tests.support.projects import BATCHES, EACH_ONCE, SPEC, write_job
from tests.support.simulator import accepted, paid, simulator

_BATCH = {**SPEC["batch"], "grace_seconds": 3}
# So long that a body is sent in more pieces than are sent before it is suspended.
_PROMPT = {"user": "The rules of labelling, line after line. " * 300 + "{{ text }}", "cache": "off"}


def _suspended_at_send(name: str, sends: int) -> None:
    """Suspend this process before its n-th send to the API since it opened a body whose intent is known."""
    is_open, seen = [], []

    def watch(event: str, args: tuple[object, ...]) -> None:
        if event == "open" and args[1] == "r":
            path = Path(str(args[0]))
            is_open.extend([name] if path.name == name and path.with_suffix(".sent").exists() else [])

    def send(*args: Any) -> int:
        seen.extend(is_open[:1])
        if len(seen) == sends and is_open:
            is_open.clear()
            os.kill(os.getpid(), signal.SIGSTOP)
        return sent(*args)

    # The process is the test's own: a function of Python is announced, none of the runner's is changed.
    sent: Callable[..., int] = socket.socket.send
    socket.socket.send = send  # type: ignore[method-assign]
    sys.addaudithook(watch)


_PREPARATIONS: dict[str, Callable[[str], Callable[[], None]]] = {
    "before its body": lambda name: partial(suspended_at_body, name),
    "in its body": lambda name: partial(_suspended_at_send, name, 1),
    "late in its body": lambda name: partial(_suspended_at_send, name, 3),
    "before its answer": lambda _: nothing,
}


def _wait_until_suspended(process: Any) -> None:
    state, until = "", time.monotonic() + 60
    while state != "T":
        assert time.monotonic() < until, "the process was not suspended"
        time.sleep(0.02)
        state = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0]


def try_case(root: Path, number: int, shared: Mapping[str, str]) -> str:
    """Suspend a runner while it creates one of three batches; return at which moment."""
    moment, batch = list(_PREPARATIONS)[number % len(_PREPARATIONS)], 1 + number // len(_PREPARATIONS) % BATCHES
    first, second = make_machine(root, 1), make_machine(root, 2)
    for machine in (first, second):
        write_job(machine, batch=_BATCH, prompt=_PROMPT)
    before = _PREPARATIONS[moment](f"1-{batch}.json")
    process, created = None, []

    def on(name: str) -> None:
        created.extend([name] if name == "created" else [])
        if before is nothing and name == "created" and len(created) == batch:
            os.kill(process.pid, signal.SIGSTOP)  # type: ignore[attr-defined]

    with simulator(root / "api", on=on) as found:
        environ = {**found, **as_project(shared)}
        process = start(first, environ, *RUN, before=before)
        _wait_until_suspended(process)
        taken = command(second, environ, *RUN, *WAIT)
        os.kill(process.pid, signal.SIGCONT)
        left = end(first, process)
        # What it has sent since may still be accepted.
        time.sleep(0.2)
    assert taken.returncode == 0, taken.stderr
    assert left.returncode == 6, (moment, left.returncode, left.stderr)
    assert (paid(root / "api"), accepted(root / "api")) == (EACH_ONCE, BATCHES), (moment, batch)
    return moment
