"""A job that is killed before an operation, and what must be true once the same command was given again."""

import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psycopg

from tests.proofs.ephemeral.machines import WAIT, as_project, make_bucket
from tests.proofs.operations.watch import kind_of, watch
from tests.support.outputs import outputs
from tests.support.processes import RUN, Ended, command
from tests.support.projects import SPEC, write_job
from tests.support.simulator import answered, paid, simulator

ROWS, AGAIN, CONCURRENCY = 6, 4, 2
_BATCH = {**SPEC["batch"], "max_requests": 3, "poll_seconds": 0.03, "grace_seconds": 0.1}
_BILL = {**{("1", row): 1 for row in range(1, ROWS + 1)}, ("2", AGAIN): 1}
_FAILS = re.compile(rf".{{13}}-1-\d+-{AGAIN}")


def _pick(custom_id: str) -> str:
    return "errored" if _FAILS.fullmatch(custom_id) else "succeeded"


class Killed(NamedTuple):
    """The operation before which a run was killed, and the number of requests that were then paid twice."""

    operation: str
    repeated: int


@dataclass(frozen=True)
class Proof:
    """A job of three batches, one row of which is sent again; or of as many synchronous requests.

    With the variables of `shared` its state is in PostgreSQL and S3, and the folder of a run that was killed is
    deleted. `after` is the operation before which an earlier run was killed already: then the one that takes over
    is killed too.
    """

    mode: str = "batch"
    shared: Mapping[str, str] = field(default_factory=dict)
    after: int | None = None

    def find_operations(self, root: Path) -> tuple[dict[str, str], Counter[str]]:
        """Return the outputs of a run that nobody kills, and the number of its operations of each kind."""
        with self._environ(root) as environ:
            folder = self._begin(root, environ)
            ended = self._watched(folder, environ, 0)
            assert ended.returncode == 0, ended.stderr
            return self._settled(folder), Counter(map(kind_of, _read_names(root)))

    def kill(self, root: Path, number: int, expected: Mapping[str, str]) -> Killed | None:
        """Kill a run before its n-th operation, and let it go on; return None if it has less."""
        with self._environ(root) as environ:
            folder = self._begin(root, environ)
            first = self._watched(folder, environ, number)
            assert first.returncode in (-9, 0), (number, first)
            name = _read_names(root)[-1]
            folder = self._replace(folder)
            again = command(folder, environ, *RUN, *WAIT)
            assert again.returncode == 0, (number, name, again)
            repeated = self._count_repeated(root)
            assert self._settled(folder) == expected, (number, name)
            examined = command(folder, environ, "doctor", "--remote")
            assert examined.returncode == 0, (number, name, examined.stdout)
        return Killed(name, repeated) if first.returncode == -9 else None

    @contextmanager
    def _environ(self, root: Path) -> Iterator[dict[str, str]]:
        root.mkdir()
        with simulator(root / "api", seconds=0.02, mix=_pick) as found:
            yield {**found, **(_make_project(self.shared) if self.shared else {})}

    def _begin(self, root: Path, environ: Mapping[str, str]) -> Path:
        """Return the folder of the run to watch."""
        folder = self._write(root / "machine")
        if self.after is None:
            return folder
        assert self._watched(folder, environ, self.after).returncode == -9
        return self._replace(folder)

    def _replace(self, folder: Path) -> Path:
        """Return the folder of the next machine."""
        if not self.shared:
            return folder
        shutil.rmtree(folder)
        return self._write(folder)

    def _write(self, folder: Path) -> Path:
        folder.mkdir()
        is_sync = self.mode == "sync"
        settings = {"mode": self.mode, "sync": {"concurrency": CONCURRENCY}, "canary": int(is_sync)}
        write_job(folder, rows=ROWS, batch=_BATCH, **settings)
        return folder

    def _watched(self, folder: Path, environ: Mapping[str, str], number: int) -> Ended:
        log = str(folder.parent / "operations")
        before = partial(watch, number, log, is_shared=bool(self.shared))
        return command(folder, environ, *RUN, *WAIT, before=before)

    def _count_repeated(self, root: Path) -> int:
        """Return how many synchronous requests were paid twice: only those in flight. No batch may be."""
        bill, sent = paid(root / "api"), answered(root / "api")
        assert bill == (_BILL if self.mode == "batch" else {}), bill
        if self.mode == "batch":
            return 0
        kills = 1 if self.after is None else 2
        assert len(set(sent)) == ROWS and len(sent) <= ROWS + kills * CONCURRENCY, sent
        return len(sent) - ROWS

    def _settled(self, folder: Path) -> dict[str, str]:
        """Return the outputs; synchronously it is chance which rows needed a second round."""
        found = outputs(folder)
        return found if self.mode == "batch" else {"labels.csv": found["labels.csv"]}


def _make_project(shared: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for a new project, with tables and a bucket of its own.

    So tables are created in each case too; and moto fails to list a bucket in which others delete meanwhile.
    """
    made = as_project(shared)
    name, url = f"proof{made['RUNNER_PROJECT']}", shared["RUNNER_STATE"]
    make_bucket(shared["AWS_ENDPOINT_URL"], name)
    with psycopg.connect(url, autocommit=True) as database:
        database.execute(f"CREATE SCHEMA {name}".encode())
    own = {"RUNNER_STATE": f"{url}?options=-csearch_path%3D{name}", "RUNNER_FILES": f"s3://{name}/proof"}
    return {**made, **own}


def _read_names(root: Path) -> list[str]:
    return (root / "operations").read_text().splitlines()


def prove(proof: Proof, root: Path, numbers: Iterable[int], workers: int = 1) -> Counter[str]:
    """Kill a run before each of these operations; return how many were killed, by the kind of the operation."""
    expected, _ = proof.find_operations(root / "undisturbed")
    with ThreadPoolExecutor(workers) as pool:
        killed = pool.map(lambda number: proof.kill(root / str(number), number, expected), numbers)
        return Counter(kind_of(one.operation) for one in killed if one is not None)
