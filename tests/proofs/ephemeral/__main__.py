"""Machines that come and go: `python -m tests.proofs.ephemeral [KILLS] [SEED]`.

A runner is killed at a random moment and its folder is deleted, with the project in it; the next one starts in a
new folder and waits for the lease. With `--suspended N` runners are suspended in the middle of a create instead,
until another one has taken over; with `--together N` two and four runners start at once.
"""

import argparse
import random
import tempfile
from collections import Counter
from pathlib import Path

from tests.proofs.ephemeral import kills, suspended, together
from tests.proofs.ephemeral.kinds import KINDS
from tests.proofs.ephemeral.machines import shared_services

_KILLS_A_JOB = 10


def _kill(root: Path, wanted: int, seed: int, shared: dict[str, str]) -> str:
    chance, struck, jobs = random.Random(seed), Counter[str](), 0
    while struck["kills"] < wanted:
        name = list(KINDS)[jobs % len(KINDS)]
        most = min(_KILLS_A_JOB, wanted - struck["kills"])
        struck += kills.job(root / str(jobs), name, most, chance, shared)
        jobs += 1
        print(f"{name}: {struck['kills']} kills, {jobs} jobs finished", flush=True)
    moments = ", ".join(f"{name} {times}" for name, times in struck.items() if name != "kills")
    return f"{struck['kills']} machines vanished ({moments}), {jobs} jobs: 0 paid twice, 0 lost, all outputs equal"


def _suspend(root: Path, wanted: int, shared: dict[str, str]) -> str:
    moments = Counter[str]()
    for number in range(wanted):
        moments[suspended.try_case(root / str(number), number, shared)] += 1
        print(f"\r{number + 1} suspended", end="", flush=True)
    found = ", ".join(f"{times} {moment}" for moment, times in moments.items())
    return f"\n{wanted} of {wanted} ended with one batch each ({found})"


def _start_together(root: Path, times: int, shared: dict[str, str]) -> str:
    for time in range(times):
        for number, (runners, specs, wait) in enumerate(together.CASES):
            codes = together.try_case(root / f"{time}-{number}", runners, specs, wait, shared)
            print(
                f"{runners} runners, specs: {specs:8}  {'wait' if wait else 'do not wait':11}  exit codes {codes}",
                flush=True,
            )
    return f"{times * len(together.CASES)} times at once: each batch was created once"


def main() -> None:
    """Prove what was asked for; print what was proved."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kills", nargs="?", type=int, default=100)
    parser.add_argument("seed", nargs="?", type=int, default=1)
    parser.add_argument("--suspended", type=int, metavar="N")
    parser.add_argument("--together", type=int, metavar="N")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, shared_services() as shared:
        if given.suspended:
            print(_suspend(Path(name), given.suspended, shared))
        elif given.together:
            print(_start_together(Path(name), given.together, shared))
        else:
            print(_kill(Path(name), given.kills, given.seed, shared))


if __name__ == "__main__":
    main()
