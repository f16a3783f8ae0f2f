"""A run that is killed just before its n-th operation, for every n: `python -m tests.proofs.operations`.

An operation is whatever can survive the process: opening a file to write, fsync, a rename, a removal, a folder,
a statement of the database, bytes sent to the API, and bytes waited for from it. After each kill the same
command is given again; then no row may be paid twice, none be lost, and the state must be sound. With `sync` as
an argument the job sends its requests synchronously, and only what was in flight may be sent once more; a number
N tries every N-th.

With `--shared` the state is in PostgreSQL and S3. Then statements of psycopg and calls of obstore are operations
too; the folder of a run that was killed is deleted, and the next one begins in a new one and waits for the lease.
With `--after K` an earlier run has been killed before its K-th operation, and that which takes over is killed too.
"""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from pathlib import Path

from tests.proofs.ephemeral.machines import shared_services
from tests.proofs.operations.proof import Killed, Proof
from tests.proofs.operations.watch import kind_of
from tests.support.processes import preload

_WORKERS = 4
_AT_ONCE = 4 * _WORKERS


def _describe(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{kind} {times}" for kind, times in sorted(kinds.items()))


def _kill(proof: Proof, root: Path, number: int, expected: Mapping[str, str]) -> Killed | str | None:
    """Return before which operation a run was killed, what went wrong then, or None if it had less."""
    try:
        return proof.kill(root / str(number), number, expected)
    except AssertionError as error:
        print(f"\n{error}", flush=True)
        return str(error)


def prove_all(proof: Proof, root: Path, step: int) -> list[str]:
    """Kill before every STEP-th operation, until runs have no more of them; return what went wrong."""
    expected, kinds = proof.find_operations(root / "undisturbed")
    print(f"{kinds.total()} operations: {_describe(kinds)}", flush=True)
    killed, wrong = list[Killed](), list[str]()
    with ThreadPoolExecutor(_WORKERS) as pool:
        for first in count(1, step * _AT_ONCE):
            numbers = range(first, first + step * _AT_ONCE, step)
            found = list(pool.map(lambda number: _kill(proof, root, number, expected), numbers))
            killed += [one for one in found if isinstance(one, Killed)]
            wrong += [one for one in found if isinstance(one, str)]
            print(f"\r{len(killed)} killed and went on, {len(wrong)} went wrong", end="", flush=True)
            # Not one: how many there are is a little different each time.
            if not any(found):
                break
    print(f"\nkilled before: {_describe(Counter(kind_of(one.operation) for one in killed))}")
    print(f"synchronous requests in flight that were paid twice: {sum(one.repeated for one in killed)}")
    return wrong


def main() -> None:
    """Kill runs before their operations; print what was proved."""
    parser = argparse.ArgumentParser()
    parser.add_argument("words", nargs="*", metavar="[sync] [N]")
    parser.add_argument("--shared", action="store_true")
    parser.add_argument("--after", type=int, metavar="K")
    given = parser.parse_args()
    mode = "sync" if "sync" in given.words else "batch"
    step = next((int(word) for word in given.words if word.isdecimal()), 1)
    preload(
        "tests.proofs.operations.proof",
        "runner.store.shared.shared_files",
        "obstore.store",
        "obstore.auth.boto3",
    )
    with ExitStack() as stack:
        shared = stack.enter_context(shared_services()) if given.shared else {}
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        wrong = prove_all(Proof(mode, shared, given.after), root, step)
    if wrong:
        sys.exit(f"{len(wrong)} went wrong")
    print("every kill was survived: nothing else paid twice, 0 lost, all outputs equal")


if __name__ == "__main__":
    main()
