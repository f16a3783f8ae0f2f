"""A power loss at every moment of a run: `python -m tests.proofs.power_loss [--without]`.

A run is traced once. For each moment, each disk that may be left is restored, and the same command is given again:
it must finish, pay each row once and write the same outputs. With `--without`, every kind of sync is left out in
turn, and some disk must then go wrong, or the sync is of no use.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runner import load_spec, run
from runner.errors import RunnerError
from tests.support.hostile.power_loss import KINDS, Call, Disk, trace, write_disk
from tests.support.outputs import outputs
from tests.support.processes import RUN
from tests.support.projects import EACH_ONCE, write_job
from tests.support.simulator import paid, simulator

FOLDERS = (".runner", "out")


@dataclass(frozen=True)
class TracedRun:
    """A run that was traced: its project, its calls, the folder of its API, and its outputs."""

    root: Path
    calls: list[Call]
    api: Path
    whole: dict[str, str]


@dataclass(frozen=True, eq=False)
class Loss:
    """A disk after a power loss: when, what it kept, and how many batches had been created by then."""

    moment: str
    kind: str
    created: int
    kept: dict[str, bytes | None]


def trace_run(folder: Path) -> TracedRun:
    """Run a job of three batches to its end."""
    root, api = folder / "project", folder / "kept-api"
    write_job(root)
    with simulator(folder / "api") as environ:
        calls = trace(folder / "calls.txt", root, RUN, environ)
    shutil.copytree(folder / "api", api)
    return TracedRun(root, calls, api, outputs(root))


def name_sync(call: Call, root: Path) -> str:
    """Return the kind of a sync: what it syncs, without the id of the run."""
    path = call.path.removeprefix(str(root)).removeprefix("/")
    return re.sub(r"[0-9a-z]{13}", "RUN", re.sub(r"\d+-\d+", "N-N", path))


def list_losses(traced: TracedRun, is_ignored: Callable[[Call], bool] = lambda _: False) -> Iterator[Loss]:
    """Yield each distinct disk: before every sync and every request, and at the end."""
    disk, created, seen = Disk(traced.root, is_ignored), 0, set[bytes]()
    for number, call in enumerate([*traced.calls, None]):
        if call is None or call.is_sync or call.name == "sendto":
            name = "the end" if call is None else f"call {number}, {call.name} {call.path[-60:]}"
            for kind in KINDS:
                kept = disk.keep(kind)
                digest = hashlib.sha256(repr((created, sorted(kept.items()))).encode()).digest()
                if digest not in seen:
                    seen.add(digest)
                    yield Loss(name, kind, created, kept)
        if call is not None:
            disk.apply(call)
            created += call.creates_batch


def find_harm(traced: TracedRun, loss: Loss) -> str | None:
    """Start again after a power loss; return what goes wrong, or None."""
    write_disk(traced.root, loss.kept, FOLDERS)
    api = traced.api.with_name("api")
    shutil.rmtree(api)
    shutil.copytree(traced.api, api)
    for path in sorted(api.glob("msgbatch_*.json"), key=_created_at)[loss.created :]:
        path.unlink()
        path.with_suffix(".jsonl").unlink()
    with simulator(api) as environ:
        os.environ.update({name: environ[name] for name in ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY")})
        try:
            code = run(load_spec(traced.root / "job.yaml"), consent=True).exit_code
        except RunnerError as error:
            return f"exit code {error.exit_code}: {error}"
        except Exception as error:  # noqa: BLE001 - a traceback is a failure here
            return f"a traceback: {error!r}"
    if paid(api) != EACH_ONCE:
        return "a row was paid twice"
    return None if (code, outputs(traced.root)) == (0, traced.whole) else "the outputs differ"


def _created_at(path: Path) -> float:
    return float(json.loads(path.read_text())["created_at"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--without", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        traced = trace_run(Path(folder).resolve())
        return _check_syncs(traced) if arguments.without else _check_all(traced)


def _check_all(traced: TracedRun) -> int:
    count = harmed = 0
    for loss in list_losses(traced):
        count += 1
        if (harm := find_harm(traced, loss)) is not None:
            harmed += 1
            print(f"{loss.moment}, kept {loss.kind}, {loss.created} created: {harm}", flush=True)
    print(f"{count} disks after a power loss, {harmed} go wrong")
    return min(harmed, 1)


def _check_syncs(traced: TracedRun) -> int:
    useless = 0
    for name in sorted({name_sync(call, traced.root) for call in traced.calls if call.is_sync}):
        losses = list_losses(traced, lambda call, name=name: name_sync(call, traced.root) == name)  # type: ignore[misc]
        harm = next((found for loss in losses if (found := find_harm(traced, loss)) is not None), None)
        useless += harm is None
        print(f"without the sync of {name}: {'nothing goes wrong' if harm is None else harm[:150]}", flush=True)
    return min(useless, 1)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        raise SystemExit(main())
