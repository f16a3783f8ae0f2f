"""The cases in which others pay twice, as a table: `python -m tests.proofs.double_pay`.

Each case is one job of three batches. Something goes wrong at its first, middle or last batch, while the list of
batches is current or lags. Then the same command is given again until the job is finished. With `--shared` the
state is in PostgreSQL and S3; no case restores it then, since nobody copies it. With `--accounts` the batches are
spread over two.
"""

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.simulator.responses import DropConnection, ErrorResponse
from tests.proofs.ephemeral.machines import WAIT, as_project, shared_services
from tests.support.processes import RUN, command, end, kill, start, start_suspended
from tests.support.projects import ROWS, write_job
from tests.support.simulator import paid, paid_by_all, simulator

FAULTS = ("dropped", "500", "529", "killed", "suspended", "restored", "missing")
PLACES = {"first": 1, "middle": 2, "last": 3}
LAGS = (0.0, 1.0)
# Settings that a spec has by itself, but a shorter grace period: it must be longer than the list lags.
BATCH: dict[str, Any] = {"max_requests": 8, "poll_seconds": 0.1, "grace_seconds": 3}
_ERRORS: dict[str, tuple[str, Exception]] = {
    "dropped": ("created", DropConnection()),
    "500": ("created", ErrorResponse(500, "Internal server error")),
    "529": ("create", ErrorResponse(529, "Overloaded")),
}
_ACCOUNTS = {"RUNNER_ACCOUNTS": "main=MAIN_KEY,second=SECOND_KEY", "MAIN_KEY": "main", "SECOND_KEY": "second"}


@dataclass(frozen=True)
class Verdict:
    """The end of a case: paid answers per row, whether the run finished, and whether anybody was asked."""

    paid: float
    is_finished: bool
    is_asked: bool


def _at(moment: str, number: int, act: Callable[[], None]) -> Callable[[str], None]:
    """Return a hook that acts when a moment is reached for the n-th time."""
    seen: list[str] = []

    def on(name: str) -> None:
        seen.append(name)
        if name == moment and seen.count(moment) == number:
            act()

    return on


def _fail(root: Path, fault: str, number: int, settings: dict[str, Any]) -> Sequence[int]:
    moment, error = _ERRORS[fault]

    def act() -> None:
        raise error

    with simulator(root / "api", on=_at(moment, number, act), **settings) as environ:
        return [command(root, environ, *RUN, *WAIT).returncode]


def _kill(root: Path, number: int, settings: dict[str, Any]) -> Sequence[int]:
    process: Any = None

    def act() -> None:
        kill(process.pid)
        raise DropConnection

    with simulator(root / "api", on=_at("created", number, act), **settings) as environ:
        process = start(root, environ, *RUN)
        assert end(root, process).returncode == -9
        return [command(root, environ, *RUN, *WAIT).returncode]


def _suspend(root: Path, number: int, settings: dict[str, Any]) -> Sequence[int]:
    with simulator(root / "api", **settings) as environ:
        process = start_suspended(root, environ, f"1-{number}.json")
        if "RUNNER_STATE" not in environ:
            (root / ".runner" / "lock").unlink()
        codes = [command(root, environ, *RUN, *WAIT).returncode]
        os.kill(process.pid, signal.SIGCONT)
        assert end(root / "worker", process).returncode == 6
        return codes


def _restore(root: Path, number: int, settings: dict[str, Any]) -> Sequence[int]:
    def act() -> None:
        shutil.copytree(root / ".runner", root / "backup")

    # Before the intent of the n-th batch is recorded: one list says what time it is, then one comes before each.
    # With two accounts, the first one is listed before the plan, and then both.
    before = 3 if "organizations" in settings else 1
    with simulator(root / "api", on=_at("list", number + before, act), **settings) as environ:
        codes = [command(root, environ, *RUN, "--no-wait").returncode]
    shutil.rmtree(root / ".runner")
    (root / "backup").rename(root / ".runner")
    sent = [path.stem for path in (root / ".runner").glob("runs/*/bodies/*.sent")]
    assert sorted(sent) == [f"1-{before}" for before in range(1, number)]
    time.sleep(settings["fault_delay"])
    with simulator(root / "api", **settings) as environ:
        return [*codes, command(root, environ, *RUN, *WAIT).returncode]


def _lose_lines(root: Path, number: int, settings: dict[str, Any]) -> Sequence[int]:
    write_job(root, rows=ROWS, batch={**BATCH, "grace_seconds": 0.1})
    row = f"-1-{number}-{8 * number - 7}"
    paid_rows = []

    def mix(custom_id: str) -> str:
        paid_rows.append(custom_id)
        return "missing" if custom_id.endswith(row) else "succeeded"

    with simulator(root / "api", mix=mix, **settings) as environ:
        code = command(root, environ, *RUN, *WAIT).returncode
    # The line that is missing is paid too: the API has counted it.
    assert len(paid_rows) == len(set(paid_rows)) == ROWS
    return [code]


def try_case(root: Path, fault: str, place: str, lag: float, *, has_accounts: bool = False) -> Verdict:
    """Try one case in an empty folder."""
    number, faults = PLACES[place], ["list-lag:99"] if lag else []
    settings: dict[str, Any] = {"faults": faults, "fault_delay": lag}
    if has_accounts:
        settings["organizations"] = {"main": faults, "second": faults}
    write_job(root, rows=ROWS, batch=BATCH)
    if fault in _ERRORS:
        codes = _fail(root, fault, number, settings)
    else:
        act = {"killed": _kill, "suspended": _suspend, "restored": _restore, "missing": _lose_lines}[fault]
        codes = act(root, number, settings)
    lost = 1 if fault == "missing" else 0
    is_finished = codes[-1] == (3 if lost else 0)
    found = paid_by_all(root) if has_accounts else paid(root / "api")
    return Verdict((sum(found.values()) + lost) / ROWS, is_finished, 5 in codes)


def main() -> None:
    """Try all cases, and print a line for each."""
    is_shared = "--shared" in sys.argv
    with ExitStack() as stack:
        shared = stack.enter_context(shared_services()) if is_shared else {}
        if has_accounts := "--accounts" in sys.argv:
            os.environ.update(_ACCOUNTS)
        _try_all([fault for fault in FAULTS if fault != "restored" or not is_shared], shared, has_accounts)


def _try_all(faults: Sequence[str], shared: Mapping[str, str], has_accounts: bool) -> None:
    found = []
    for fault in faults:
        for place in PLACES:
            for lag in LAGS:
                with tempfile.TemporaryDirectory() as name:
                    # The simulator passes them on.
                    os.environ.update(as_project(shared))
                    one = try_case(Path(name), fault, place, lag, has_accounts=has_accounts)
                found.append(one)
                finished, asked = "finished" if one.is_finished else "unfinished", "yes" if one.is_asked else "no"
                print(
                    f"{fault:9}  {place:6} batch  list lag {lag:.0f} s  paid {one.paid:.2f} per row  "
                    f"{finished}  asked: {asked}",
                    flush=True,
                )
    once = sum(one.paid == 1 for one in found)
    finished_count, asked_count = sum(one.is_finished for one in found), sum(one.is_asked for one in found)
    print(f"{len(found)} cases: {once} paid once, {finished_count} finished, {asked_count} asked")


if __name__ == "__main__":
    main()
