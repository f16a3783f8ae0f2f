"""A chain of three specs that is killed at random under faults: `python -m tests.proofs.chain [KILLS] [SEED]`.

Whenever the process is killed the same command is given again, until all three have finished; then every row of
each must have been paid once, and stand once in the outputs of each.
"""

import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.proofs.kills import killed
from tests.support.outputs import records
from tests.support.projects import RUN_CHAIN, write_chain
from tests.support.simulator import simulator

ROWS, SPECS = 60, ("first", "second", "third")
FAULTS = (
    "accept-then-drop:4%", "late-commit:2%", "list-lag:10%", "storm-500:3%", "drop:3%", "retrieve-404:5%",
    "results-404:5%", "cut-length:3%", "line-malformed:3%",
)  # fmt: skip


def job(root: Path, kills: int, chance: random.Random) -> int:
    """Kill a chain up to so many times and let it finish; return how often it was killed."""
    write_chain(root, rows=ROWS)
    with simulator(
        root / "api", seconds=0.5, faults=FAULTS, seed=chance.getrandbits(32), fault_delay=0.2
    ) as environ:
        struck = killed(root, environ, RUN_CHAIN, kills, lambda: chance.uniform(0.02, 0.8))
    check(root)
    return struck


def check(root: Path) -> None:
    """Each spec has one run, and each of its rows one answer that was paid and one place in its outputs."""
    for name in SPECS:
        keys = [record["key"] for record in records(root / f"out/{name if name != 'first' else 'all'}.jsonl")]
        assert keys == [f"r{row}" for row in range(1, ROWS + 1)], name
    ids = [record["custom_id"] for path in (root / "api").glob("msgbatch_*.jsonl") for record in records(path)]
    paid = Counter((one.split("-")[0], one.rpartition("-")[2]) for one in ids if not one.startswith("somebody"))
    assert set(paid.values()) == {1}
    assert len(paid) == len(SPECS) * ROWS


def main() -> None:
    """Kill until there were so many kills; print what was proved."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    chance, kills, chains = random.Random(seed), 0, 0
    with tempfile.TemporaryDirectory() as name:
        while kills < wanted:
            kills += job(Path(name) / str(chains), min(25, wanted - kills), chance)
            chains += 1
            print(f"\r{kills} kills, {chains} chains finished", end="", flush=True)
    print(": 0 rows paid twice, 0 lost")


if __name__ == "__main__":
    main()
