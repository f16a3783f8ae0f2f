"""Runs that share the API's queue, each in a process of its own: `python -m tests.follow.shared_queue [RUNS ...]`.

Prints how many creates are refused, each after the upload of its whole body, and how long each run takes. The
first run is big and fills the queue before the others begin, which are small.
"""

import json
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from tests.support.processes import RUN, end, start
from tests.support.projects import SPEC, write_job
from tests.support.servers import postgres, query_server
from tests.support.simulator import simulator

BATCHES_AT_ONCE = 4
"""The batches of one request each that fill the queue."""


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    until = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < until, "it takes too long"
        time.sleep(0.02)


@dataclass
class Shared:
    """A simulator whose queue is full with four batches, and the runs that are sent to it.

    With a `database` these share a state in it. `ahead` is what was added to the clock of the simulator.
    """

    root: Path
    database: str | None
    project: str = field(default_factory=lambda: uuid.uuid4().hex)
    environ: dict[str, str] = field(default_factory=dict)
    creates: int = 0
    ahead: float = 0.0
    _lock: Lock = field(default_factory=Lock)

    def count(self, stage: str) -> None:
        """Count the creates that reach the API."""
        with self._lock:
            self.creates += stage == "create"

    def clock(self) -> float:
        """The simulator's time."""
        return time.time() + self.ahead

    def batches(self) -> list[dict[str, Any]]:
        """The batches that the API has accepted, in their order."""
        found = [json.loads(path.read_text()) for path in (self.root / "api").glob("msgbatch_*.json")]
        return sorted(found, key=lambda batch: float(batch["created_at"]))

    @property
    def refused(self) -> int:
        """The number of creates that the API has refused."""
        return self.creates - len(self.batches())

    def end_next(self) -> None:
        """Let time pass until another batch has ended, if there is one."""
        ends = [batch["ends_at"] for batch in self.batches() if batch["ends_at"] > self.clock()]
        if ends:
            self.ahead += max(0.0, min(ends) - self.clock()) + 0.001

    def write(self, name: str, batches: int, *, poll_seconds: float = 0.2) -> Path:
        """Write the job of a run, in a folder of its own."""
        batch = {**SPEC["batch"], "max_requests": 1, "poll_seconds": poll_seconds}
        write_job(self.root / name, name=name, rows=batches, batch=batch, reuse=False)
        return self.root / name

    def start(self, folder: Path, *options: str) -> Any:
        """Start a run in a process of its own."""
        return start(folder, self.environ, *RUN, *options)

    def fill(self, folder: Path) -> Any:
        """Start a run that fills the queue, and whose next create is refused."""
        process = self.start(folder)
        wait_for(lambda: "trying again once a batch has ended" in (folder / "stderr").read_text())
        return process

    def query(self, statement: str) -> Sequence[Any]:
        """The rows of a statement to the database."""
        return query_server(str(self.database), statement)

    def senders(self) -> list[str]:
        """The names of the runs whose batches the API has accepted, in their order, once all are recorded."""
        ids = [batch["id"] for batch in self.batches()]
        wait_for(lambda: set(ids) <= set(self._names()))
        names = self._names()
        return [names[one] for one in ids]

    def _names(self) -> dict[str, str]:
        return dict(tuple(row) for row in self.query("SELECT batch_id, spec FROM batch JOIN run ON number = run"))


@contextmanager
def shared_queue(root: Path, database: str | None = None, *, seconds: float) -> Iterator[Shared]:
    """Serve the API with a small queue."""
    shared = Shared(root, database)
    limit = f"max-queue:{BATCHES_AT_ONCE}"
    place = {"RUNNER_FILES": f"file://{root}/files", "RUNNER_PROJECT": shared.project, "RUNNER_LEASE_SECONDS": "5"}
    with simulator(root / "api", seconds=seconds, on=shared.count, clock=shared.clock, faults=[limit]) as environ:
        shared.environ = environ if database is None else {**environ, **place, "RUNNER_STATE": database}
        yield shared


def _measure(database: str, sizes: Sequence[int]) -> None:
    with tempfile.TemporaryDirectory() as root, shared_queue(Path(root), database, seconds=2.0) as shared:
        folders = [shared.write(f"run{number}", size) for number, size in enumerate(sizes)]
        began, took = time.monotonic(), dict[Path, float]()
        processes = {folders[0]: shared.fill(folders[0])}
        processes |= {folder: shared.start(folder) for folder in folders[1:]}
        while len(took) < len(processes):
            for folder, process in processes.items():
                if folder not in took and not process.is_alive():
                    assert end(folder, process).returncode == 0
                    took[folder] = time.monotonic() - began
            time.sleep(0.02)
        shown = ", ".join(
            f"{size} batches {took[folder]:.1f} s" for folder, size in zip(folders, sizes, strict=True)
        )
        print(f"{len(sizes)} runs: {shared.refused:3} of {shared.creates} creates refused; {shown}", flush=True)


def main(counts: Sequence[int]) -> None:
    with postgres() as database:
        for count in counts:
            _measure(database, [40, *[8] * (count - 1)])


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [1, 2, 4])
