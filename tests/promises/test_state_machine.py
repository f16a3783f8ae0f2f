"""Random calls, kills, faults and edits: one bill, one outcome per row, and a sound state."""

import json
import os
import shutil
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from runner import Summary, load_spec, run
from runner.errors import AccessError, ApiError, UsageError
from runner.lifecycle.maintain.doctor import diagnose_state
from runner.runs.events import RunEvent
from runner.simulator.faults import Faults
from runner.simulator.server import serve
from runner.store.open_store import open_store
from tests.support.outputs import records
from tests.support.projects import SPEC, write_job
from tests.support.simulator import paid

pytestmark = pytest.mark.slow

ROWS = 9
BATCH = {**SPEC["batch"], "max_requests": 4, "grace_seconds": 900}
LAG, SECONDS = 300, 2000
PASSING = (
    "drop", "storm-500", "storm-429", "html", "queue-full", "refuse-504", "accept-then-drop", "accept-then-500",
    "accept-then-cut", "late-commit", "list-lag", "foreign-batch", "retrieve-404", "results-404", "cut-length",
    "cut-inside-line", "line-malformed", "line-duplicate", "future-status",
    "errored", "expired", "invalid", "overloaded", "refuse", "too-large", "revoked-key", "spend-limit",
)  # fmt: skip
LOST = ("accept-then-drop", "accept-then-500", "accept-then-cut", "late-commit", "refuse-504")
DOWNLOADS = ("cut-length", "cut-inside-line", "cut-chunked", "line-malformed", "line-bad-utf8", "results-html")
EDITS: tuple[dict[str, Any], ...] = (
    {"retry": {"attempts": 3}},
    {"sinks": [{"type": "jsonl", "path": "out/all.jsonl"}]},
    {"prompt": {"user": "Other words: {{ text }}"}},
    {"batch": {**BATCH, "max_requests": 7}},
)


class Killed(BaseException):
    """Stand-in for the sudden end of a process, inside one process."""


class Runs(RuleBasedStateMachine):
    """One job, called again and again without waiting, while the world around it misbehaves."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.now = 1_790_000_000.0
        self.stack = ExitStack()
        self.faults = Faults(delay=LAG)
        self.last: Summary | None = None

    @initialize()
    def begin(self) -> None:
        write_job(self.root, rows=ROWS, batch=BATCH)
        url = self.stack.enter_context(
            serve(self.root / "api", seconds=SECONDS, faults=self.faults, clock=lambda: self.now)
        )
        self.url = url
        patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("ANTHROPIC_BASE_URL", url)
        patch.setenv("ANTHROPIC_API_KEY", "simulated")
        # Batches of no end are looked for by both clocks: the local one stands for the time that passes too.
        patch.setattr("time.time", lambda: self.now)

    def call(self, **options: Any) -> None:
        with suppress(ApiError, AccessError, UsageError, Killed):
            self.last = run(load_spec(self.root / "job.yaml"), consent=True, wait=False, **options)

    @rule()
    def go(self) -> None:
        self.call()

    @rule(after=st.integers(0, 8))
    def go_and_be_killed(self, after: int) -> None:
        told = []

        def report(event: RunEvent) -> None:
            told.append(event.name)
            if len(told) > after:
                raise Killed

        self.call(on_event=report)

    @rule(seconds=st.sampled_from([1, 120, 1000, 3000]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule(name=st.sampled_from(PASSING), times=st.integers(1, 2))
    def something_fails(self, name: str, times: int) -> None:
        self.faults.add(f"{name}:{times}")

    @rule(name=st.sampled_from(LOST), seconds=st.sampled_from([100, 1100]))
    def an_answer_is_lost(self, name: str, seconds: int) -> None:
        self.faults.add(name)
        self.call()
        self.now += seconds
        self.call()

    @rule(name=st.sampled_from(DOWNLOADS))
    def downloads_fail(self, name: str) -> None:
        self.now += SECONDS
        self.faults.add(f"{name}:2")
        self.call()

    @rule(count=st.integers(1, 4))
    def somebody_creates_a_batch(self, count: int) -> None:
        params = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
        requests = [{"custom_id": f"somebody-1-1-{number}", "params": params} for number in range(count)]
        body = json.dumps({"requests": requests}).encode()
        request = Request(f"{self.url}/v1/messages/batches", body, {"authorization": "Bearer x"})  # noqa: S310
        with suppress(OSError), urlopen(request, timeout=5):  # noqa: S310
            pass

    def is_under_way(self) -> bool:
        """True if a run has begun and may be unfinished; a killed run may have finished unseen."""
        if not (self.root / ".runner/state.db").exists():
            return False
        with open_store(self.root / ".runner", lock=False) as store:
            return any(run.state == "running" for run in store.runs())

    @rule(change=st.sampled_from(EDITS))
    def the_spec_is_edited_and_put_back(self, change: dict[str, Any]) -> None:
        if not self.is_under_way():
            return
        write_job(self.root, rows=ROWS, **{"batch": BATCH, **change})
        if "prompt" in change:
            with pytest.raises((UsageError, ApiError, AccessError)):
                run(load_spec(self.root / "job.yaml"), consent=True, wait=False)
        else:
            self.call()
        write_job(self.root, rows=ROWS, batch=BATCH)

    @invariant()
    def nothing_is_paid_twice(self) -> None:
        bill = paid(self.root / "api") if (self.root / "api").exists() else {}
        assert all(times == 1 for times in bill.values()), bill
        good = {one for one in bill if (str(int(one[0]) + 1), one[1]) in bill} & self.good()
        assert good == set(), "sent again, though the answer was there"

    def good(self) -> set[tuple[str, int]]:
        """The (round, row) of which the API holds an answer that needs no other."""
        found = set()
        for path in (self.root / "api").glob("msgbatch_*.jsonl"):
            for line in records(path):
                if line["result"]["type"] == "succeeded" and not line["custom_id"].startswith("somebody"):
                    text = line["result"]["message"]["content"][0]["text"]
                    if text.startswith("{"):
                        _, round, _, row = line["custom_id"].split("-")
                        found.add((round, int(row)))
        return found

    def teardown(self) -> None:
        try:
            self.finish()
        finally:
            self.stack.close()
            shutil.rmtree(self.root)

    def finish(self) -> None:
        """Once nothing fails any more, the job ends with every row, and nothing is wrong with its state."""
        self.faults.clear()
        for _ in range(60):
            self.call()
            if self.last is not None and self.last.state == "finished":
                break
            self.now += 1200
        assert self.last is not None
        assert self.last.state == "finished", self.last
        bill = paid(self.root / "api")
        assert {row for round, row in bill if round == "1"} == set(range(1, ROWS + 1))
        assert [one["key"] for one in records(self.root / "out/all.jsonl")] == [
            f"r{n}" for n in range(1, ROWS + 1)
        ]
        before = Path.cwd()
        os.chdir(self.root)
        try:
            assert diagnose_state(remote=True).findings == []
        finally:
            os.chdir(before)


SEQUENCES = int(os.environ.get("STATE_SEQUENCES", "80"))
QUICK = settings(
    max_examples=SEQUENCES // 4,
    stateful_step_count=10,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)


def machine(number: int) -> Any:
    """The same machine under another name: hypothesis draws other examples for it, and tests run side by side."""
    kind = type(f"Runs{number}", (Runs,), {})
    kind.TestCase.settings = QUICK  # type: ignore[attr-defined]
    return kind.TestCase  # type: ignore[attr-defined]


Test1, Test2, Test3, Test4 = (machine(number) for number in range(1, 5))
