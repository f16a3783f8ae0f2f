"""A Dask cluster of processes on this machine."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import ROOT


def wait_until(condition: Callable[[], Any]) -> None:
    while not condition():
        time.sleep(0.05)


@dataclass
class Cluster:
    """A scheduler, and workers that are started one by one."""

    folder: Path
    processes: ExitStack
    scheduler: subprocess.Popen[bytes] = field(init=False)

    def start(self, module: str, *words: str, code: Path = ROOT) -> subprocess.Popen[bytes]:
        """Start a scheduler or a worker that imports the runner from `code`."""
        with (self.folder / f"{module}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{module}", "--host=127.0.0.1", "--no-dashboard", *words],
                cwd=self.folder, env={**os.environ, "PYTHONPATH": str(code)}, stdout=log, stderr=log,
            )  # fmt: skip
        self.processes.enter_context(process)
        self.processes.callback(process.kill)
        return process

    @property
    def address(self) -> str:
        """The address of the scheduler, which chooses its port."""
        path = self.folder / "scheduler.json"
        wait_until(path.exists)
        return str(json.loads(path.read_text())["address"]).removeprefix("tcp://")

    def start_worker(self, code: Path = ROOT) -> subprocess.Popen[bytes]:
        """Start a worker, and wait until the scheduler knows it."""
        words = [f"tcp://{self.address}", "--no-nanny", "--nthreads", "1"]
        before = len(self.ask(lambda client: client.nthreads()))
        worker = self.start("dask_worker", *words, code=code)
        wait_until(lambda: len(self.ask(lambda client: client.nthreads())) > before)
        return worker

    def ask(self, question: Callable[[Any], Any]) -> Any:
        """Ask the scheduler as another client."""
        import distributed

        make_client: Any = distributed.Client
        with make_client(self.address, set_as_default=False) as client:
            return question(client)

    def working(self) -> dict[str, tuple[Any, ...]]:
        """The tasks of each worker that has some, by its address, as the scheduler knows it."""
        return {worker: tasks for worker, tasks in self.ask(lambda client: client.processing()).items() if tasks}

    def kill_in_mid_task(self, worker: subprocess.Popen[bytes]) -> None:
        """Kill a worker while it has a task: it is suspended first, so that it cannot end it meanwhile."""
        found = self.ask(lambda client: client.run(os.getpid))
        [address] = [place for place, pid in found.items() if pid == worker.pid]
        while True:
            wait_until(lambda: address in self.working())
            worker.send_signal(signal.SIGSTOP)
            time.sleep(0.5)
            if address in self.working():
                break
            worker.send_signal(signal.SIGCONT)
        worker.kill()
