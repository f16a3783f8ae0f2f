"""Runs that are killed around the moment they finish: `python -m tests.notify.kills [KILLS] [SEED]`.

The receiver of a webhook refuses one event in three, and a command is told too. Whenever a process is killed the
same command is given again, until it ends by itself; then each receiver must have the event of the run.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.support.outputs import records
from tests.support.processes import RUN, command, end, kill, start
from tests.support.projects import write_job
from tests.support.servers import Webhook, webhook
from tests.support.simulator import simulator

NOTIFY = [
    {"on": ["finished"], "url": "${env:HOOK}"},
    {"on": ["finished"], "command": ["sh", "-c", "cat >> told.jsonl; echo >> told.jsonl"]},
]
MOMENTS = ("writing the outputs", ": finished")
"""Lines of the log just before the event is recorded, and just after."""


def kill_at(root: Path, environ: Mapping[str, str], moment: str, seconds: float) -> bool:
    """Kill a command some time after a line of its log; return whether it was killed."""
    process = start(root, environ, *RUN)
    while process.is_alive() and moment not in (root / "stderr").read_text():
        time.sleep(0.001)
    time.sleep(seconds)
    if process.is_alive():
        kill(process.pid)
    return end(root, process).returncode == -9


def finish(root: Path, environ: Mapping[str, str], hook: Webhook) -> None:
    """Repeat the command until a receiver that refuses has taken the event; it has to within a few commands."""
    hook.status = 204
    for _ in range(2):
        ended = command(root, environ, *RUN)
        assert ended.returncode == 0, ended.stderr


def job(root: Path, environ: Mapping[str, str], hook: Webhook, chance: random.Random) -> int:
    """Kill a run once or twice around its end, and let it finish; return how often it was killed."""
    write_job(root, rows=3, name=f"job{root.name}", notify=NOTIFY, reuse=False)
    hook.status = 500 if chance.random() < 1 / 3 else 204
    struck = int(kill_at(root, environ, chance.choice(MOMENTS), chance.uniform(0, 0.08)))
    struck += kill_at(root, environ, "nothing was sent", chance.uniform(0, 0.08)) if struck else 0
    finish(root, environ, hook)
    return struck


def check(root: Path, hook: Webhook, first: int) -> int:
    """Both receivers have the event, always with the same id; return how often it was repeated."""
    ids = set(hook.ids()[first:])
    told = records(root / "told.jsonl")
    assert len(ids) == 1, ids
    assert {one["type"] for one in told} == {"finished"}
    assert len({one["data"]["run"] for one in told}) == 1
    return len(hook.got) - first + len(told) - 2


def prove(folder: Path, wanted: int, seed: int) -> Iterator[tuple[int, int, int]]:
    """Kill until there were so many kills; yield how many there were, in how many runs, and the repetitions."""
    chance, kills, jobs, repeated = random.Random(seed), 0, 0, 0
    with webhook() as hook:
        while kills < wanted:
            root, first = folder / str(jobs), len(hook.got)
            root.mkdir()
            with simulator(root / "api", seconds=0.05) as environ:
                kills += job(root, {**environ, "HOOK": hook.url}, hook, chance)
            repeated += check(root, hook, first)
            jobs += 1
            yield kills, jobs, repeated


def main() -> None:
    """Print what was proved."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kills", nargs="?", type=int, default=100)
    parser.add_argument("seed", nargs="?", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for kills, jobs, repeated in prove(Path(name), given.kills, given.seed):
            print(f"\r{kills} kills, {jobs} runs, {repeated} repetitions", end="", flush=True)
    print(": each run was told to both receivers")


if __name__ == "__main__":
    main()
