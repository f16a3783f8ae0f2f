"""Runs that are killed at random under random faults: `python -m tests.proofs.kills [KILLS] [SEED] [--cache]`.

Each job has twenty batches; one create in ten loses its answer, and calls and downloads fail as often. Whenever a
process is killed the same command is given again, until the job is finished; then the bill must be exactly one.
With `--cache` all prompts begin with the same 8,000 tokens, and one request is sent first to warm their cache.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.outputs import records
from tests.support.processes import RUN, command, end, kill, start
from tests.support.projects import SPEC, write_job
from tests.support.simulator import paid, simulator

ROWS, BATCHES = 170, 20
BATCH = {**SPEC["batch"], "max_requests": 16, "max_bytes": 3200, "poll_seconds": 0.05, "grace_seconds": 4}
PLAIN: dict[str, Any] = {"batch": BATCH}
CACHED: dict[str, Any] = {
    "prompt": {**SPEC["prompt"], "system": "The rules of labelling, line after line. " * 800},
    "batch": {**BATCH, "max_bytes": 400_000, "max_requests": 9},
}
FAULTS = (
    "accept-then-drop:4%", "accept-then-500:2%", "accept-then-cut:2%", "late-commit:2%", "foreign-batch:10%",
    "list-lag:10%", "storm-500:3%", "storm-429:2%", "drop:3%", "html:2%", "retrieve-404:5%", "results-404:5%",
    "cut-length:3%", "cut-line:3%", "cut-inside-line:3%", "line-malformed:3%", "line-missing:3%",
)  # fmt: skip


def killed(
    root: Path, environ: Mapping[str, str], run: Sequence[str], kills: int, seconds: Callable[[], float]
) -> int:
    """Kill a command some seconds after each start, up to `kills` times, then let it finish; return how often."""
    struck = 0
    while struck < kills:
        process = start(root, environ, *run)
        time.sleep(seconds())
        if not process.is_alive():
            ended = end(root, process)
            assert ended.returncode == 0, ended.stderr
            break
        kill(process.pid)
        struck += end(root, process).returncode == -9
    ended = command(root, environ, *run)
    assert ended.returncode == 0, ended.stderr
    return struck


def job(root: Path, kills: int, chance: random.Random, changes: Mapping[str, Any] = PLAIN) -> int:
    """Kill a job up to so many times and let it finish; return how often it was killed."""
    write_job(root, rows=ROWS, **changes)
    with simulator(
        root / "api", seconds=1, faults=FAULTS, seed=chance.getrandbits(32), fault_delay=0.5
    ) as environ:
        struck = killed(root, environ, RUN, kills, lambda: chance.uniform(0.02, 0.6))
        examined = command(root, environ, "doctor")
        assert examined.returncode == 0, examined.stdout
    check(root)
    assert (root / "api/caches.jsonl").exists() == (changes is CACHED)
    return struck


def check(root: Path) -> None:
    """Every row was accepted once and stands in the output once; no batch was created in vain."""
    bill = paid(root / "api")
    assert bill == {("1", row): 1 for row in range(1, ROWS + 1)}, [one for one in bill.items() if one[1] != 1]
    assert len({record["batch_id"] for record in records(root / "out/all.jsonl")}) >= BATCHES
    found = [record["key"] for record in records(root / "out/all.jsonl")]
    assert found == [f"r{row}" for row in range(1, ROWS + 1)]


def main() -> None:
    """Kill until there were so many kills; print what was proved."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kills", nargs="?", type=int, default=300)
    parser.add_argument("seed", nargs="?", type=int, default=1)
    parser.add_argument("--cache", action="store_true")
    given = parser.parse_args()
    wanted, changes = given.kills, CACHED if given.cache else PLAIN
    chance, kills, jobs, faults = random.Random(given.seed), 0, 0, 0
    with tempfile.TemporaryDirectory() as name:
        while kills < wanted:
            root = Path(name) / str(jobs)
            kills += job(root, min(40, wanted - kills), chance, changes)
            faults += len(records(root / "api/faults.jsonl"))
            jobs += 1
            print(f"\r{kills} kills, {faults} faults, {jobs} jobs finished", end="", flush=True)
    print(": 0 rows paid twice, 0 lost")


if __name__ == "__main__":
    main()
