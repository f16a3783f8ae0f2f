"""Every misbehaviour at every stage of a run, with a signal: `python -m tests.proofs.endpoints [STAGE ...]`.

The stages come from the simulator's list of calls, so a new call is covered by being listed there. Each case
starts a run, misbehaves once and sends a signal meanwhile. The process must end, and a second run must finish.
"""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from runner.simulator.responses import DropConnection, ErrorResponse, HangConnection, TrickleConnection
from runner.simulator.routes import ROUTES
from tests.support.outputs import records
from tests.support.processes import RUN, command, end, start
from tests.support.projects import SPEC, write_job
from tests.support.prompts import PATH_BLOCK
from tests.support.simulator import answered, paid, simulator

ROWS = 4
# Longer than the wait for a process, which must therefore have heard its signal.
HANG_SECONDS = 90.0
STATUSES = (400, 401, 403, 404, 408, 409, 413, 429, 500, 502, 503, 504, 529)
SIGNALS = (signal.SIGINT, signal.SIGTERM)
NOT_IN_A_RUN = {
    "cancel": "a run calls it only after its deadline or `runner cancel`",
    "delete": "only `runner purge --remote` calls it",
    "delete_file": "only `runner purge --remote` calls it",
    "files": "a run calls it only for files that it uploaded before",
    "models": "not called",
    "model": "not called",
}
"""Stages that no case reaches, and the reason. Their calls are in the table of `tests/api/test_limits.py`."""

LATER_STAGES = ("created", "answered", "uploaded", "results-half")
STAGES = tuple(sorted({route.stage for route in ROUTES} - set(NOT_IN_A_RUN))) + LATER_STAGES
_UPLOAD = [{**PATH_BLOCK, "upload": True}, {"type": "text", "text": "{{ name }}?"}]
_BATCH = {**SPEC["batch"], "max_requests": 2}
_UPLOAD_JOB = {"source": {"type": "files", "path": "*.txt", "key": "name"}, "prompt": {"user": _UPLOAD}}
_MESSAGE_STAGES, _REFUSALS = ("message", "answered"), ("400", "404", "413")
"""With these statuses the API refuses the request of a message: its row is errored, and not sent again."""

JOBS: dict[str, dict[str, Any]] = {
    "message": {"mode": "sync"},
    "answered": {"mode": "sync"},
    "upload": _UPLOAD_JOB,
    "uploaded": _UPLOAD_JOB,
}


class Case(NamedTuple):
    """One misbehaviour at one stage, and the signal sent meanwhile; None sends no signal."""

    stage: str
    misbehaviour: str
    signal: signal.Signals | None


def every_case() -> Iterator[Case]:
    """Yield the whole table."""
    for stage, name in product(STAGES, ("hang", "trickle", "cut", *map(str, STATUSES))):
        yield from (Case(stage, name, number) for number in SIGNALS)


def short_table() -> list[Case]:
    """One case for each stage; a call that may be paid is cut, as it waits for its answer after a signal."""
    paid_stages = ("create", "created", "message", "answered", "upload", "uploaded")
    return [
        Case(stage, "cut" if stage in paid_stages else "hang", SIGNALS[number % 2])
        for number, stage in enumerate(STAGES)
    ]


def _failure(name: str) -> Exception:
    if name.isdecimal():
        return ErrorResponse(int(name), "injected")
    return {"hang": HangConnection, "trickle": TrickleConnection, "cut": DropConnection}[name]()


def check(root: Path, case: Case) -> str:
    """Run one case; return what is wrong, or an empty text."""
    root.mkdir()
    write_job(root, rows=ROWS, **{"batch": _BATCH, **JOBS.get(case.stage, {})})
    for number in range(ROWS):
        (root / f"{number}.txt").write_text(f"text {number}")
    process: Any = None
    left, lock, is_started = [1], Lock(), Lock()
    is_started.acquire()

    def misbehave(stage: str) -> None:
        with lock:
            if stage != case.stage or not left:
                return
            left.clear()
        with is_started:
            if case.signal is not None:
                os.kill(process.pid, case.signal)
        raise _failure(case.misbehaviour)

    with simulator(root / "api", on=misbehave, fault_delay=HANG_SECONDS) as environ:
        process = start(root, environ, *RUN)
        is_started.release()
        first = end(root, process)
        codes = [first.returncode, *(command(root, environ, *RUN).returncode for _ in range(2))]
    return _judge(root, case, reached=not left, codes=codes)


def _judge(root: Path, case: Case, *, reached: bool, codes: Sequence[int]) -> str:
    allowed = {0, 2, 3, 4, 7} | ({128 + case.signal} if case.signal is not None else set())
    is_row_refused = case.stage in _MESSAGE_STAGES and case.misbehaviour in _REFUSALS
    last, wanted = (3, ["errored", "succeeded"]) if is_row_refused else (0, ["succeeded"])
    found = [record["outcome"] for record in records(root / "out/all.jsonl")] if codes[-1] == last else []
    twice = [row for row, times in paid(root / "api").items() if times > 1]
    # One answer can be lost on its way, and is asked for again in a later round.
    extra = len(answered(root / "api")) - ROWS if "mode" in JOBS.get(case.stage, {}) else 0
    problems = {
        "the stage was not reached": not reached,
        f"exit codes {list(codes)}": codes[0] not in allowed or codes[-1] != last,
        f"outcomes {found}": sorted(set(found)) != wanted or len(found) != ROWS,
        f"paid twice: {twice}": bool(twice) or extra > 1,
    }
    return "; ".join(text for text, is_wrong in problems.items() if is_wrong)


def prove(root: Path, cases: Sequence[Case], *, workers: int) -> dict[Case, str]:
    """Run cases side by side; return those that went wrong, with the reason."""
    with ThreadPoolExecutor(workers) as pool:
        found = pool.map(lambda pair: check(root / str(pair[0]), pair[1]), enumerate(cases))
        return {case: problem for case, problem in zip(cases, found, strict=True) if problem}


def main() -> None:
    """Run the whole table, or the stages that are named; print what was proved."""
    cases = [case for case in every_case() if case.stage in (sys.argv[1:] or STAGES)]
    with tempfile.TemporaryDirectory() as name:
        wrong = prove(Path(name), cases, workers=8)
    for case, problem in wrong.items():
        print(f"{case.stage}, {case.misbehaviour}, {case.signal}: {problem}")
    print(f"{len(cases)} cases, {len(wrong)} wrong: in the others, the signal was heard and each row paid once")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
