"""Runners whose machines vanish: killed at a random moment, and their folder with the project deleted."""

import random
import shutil
import time
from collections import Counter
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

from tests.proofs.ephemeral.kinds import KINDS, PART, ROWS, End, Kind, read_end
from tests.proofs.ephemeral.machines import WAIT, as_project, count_leases, make_machine, query
from tests.support.processes import RUN, command, end, kill, start
from tests.support.projects import write_job
from tests.support.simulator import simulator

_MOMENTS = {
    "preparing": "r.state IN ('preparing', 'prepared')",
    "create": "b.state = 'submitting' AND b.send_mode = 'batch'",
    "retry round": "b.round > 1 AND b.state <> 'collected'",
    "warm-up": "b.is_warmup AND b.state <> 'collected'",
    "sync or canary": "b.send_mode = 'sync' AND b.state IN ('submitting', 'submitted', 'ended')",
    "before a split": f"b.requests > {PART} AND b.state IN ('prepared', 'submitting')",
    "waiting": "b.state IN ('submitted', 'ended') AND b.send_mode = 'batch'",
    "collecting": "b.state = 'collected' AND r.state = 'running'",
    "finished": "r.state = 'finished'",
}


def find_moments(environ: Mapping[str, str]) -> list[str]:
    """Return in which moments of its life the run of a project is."""
    names = ", ".join(f"coalesce(bool_or({condition}), false)" for condition in _MOMENTS.values())
    joined = "run r LEFT JOIN batch b ON b.run = r.number WHERE r.project = %s"
    try:
        [found] = query(environ, f"SELECT {names} FROM {joined}")  # noqa: S608
    except psycopg.errors.UndefinedTable:
        return []
    return [name for name, is_now in zip(_MOMENTS, found, strict=True) if is_now]


def _start(root: Path, number: int, kind: Kind, environ: Mapping[str, str]) -> tuple[Path, Any]:
    machine = make_machine(root, number)
    write_job(machine, rows=ROWS, **kind.spec)
    return machine, start(machine, environ, *RUN, *WAIT)


def _when_at_work(process: Any, environ: Mapping[str, str]) -> None:
    """Wait until a process has taken over the lease, or has ended."""
    before = count_leases(environ)
    while process.is_alive() and count_leases(environ) == before:
        time.sleep(0.02)


def undisturbed(root: Path, kind: Kind, shared: Mapping[str, str]) -> End:
    """Return the end of a job that nobody kills, without faults."""
    with simulator(root / "api", mix=kind.mix, faults=kind.limits) as found:
        machine, process = _start(root, 0, kind, {**found, **as_project(shared)})
        ended = end(machine, process)
        assert ended.returncode == 0, ended.stderr
    return read_end(machine, root / "api", kind)


def job(root: Path, name: str, kills: int, chance: random.Random, shared: Mapping[str, str]) -> Counter[str]:
    """Let the machines of a job vanish up to so many times; return the moments at which they did."""
    kind, struck = KINDS[name], Counter[str]()
    expected = undisturbed(root / "undisturbed", kind, shared)
    settings: dict[str, Any] = {"faults": [*kind.faults, *kind.limits], "seed": chance.getrandbits(32)}
    with simulator(root / "api", seconds=1, mix=kind.mix, fault_delay=0.5, **settings) as found:
        environ = {**found, **as_project(shared)}
        for number in count():
            machine, process = _start(root, number, kind, environ)
            if struck["kills"] < kills:
                _when_at_work(process, environ)
                time.sleep(chance.uniform(0, 2.5))
            if struck["kills"] == kills or not process.is_alive():
                break
            kill(process.pid)
            assert end(machine, process).returncode in (-9, 0)
            struck.update(["kills", *find_moments(environ)])
            shutil.rmtree(machine)
        ended = end(machine, process)
        assert ended.returncode == 0, ended.stderr
    # It does not repeat calls, so the faults are over.
    with simulator(root / "api"):
        examined = command(machine, environ, "doctor", "--remote")
        assert examined.returncode == 0, examined.stdout + examined.stderr
    differs = read_end(machine, root / "api", kind).compare(expected, struck["kills"])
    assert not differs, (name, settings, differs)
    return struck
