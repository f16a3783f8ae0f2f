"""A cap that really stops: what the API bills never exceeds it, and the run goes on under a higher one."""

import json
import os
import random
import re
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from runner import Summary, load_spec, run
from runner.errors import (
    CanaryFailed,
    CostCapReached,
    InputError,
    ManualDecisionRequired,
    ResultsLost,
    RunnerError,
)
from runner.pricing.rates import rate_for_spec
from tests.support.outputs import records
from tests.support.processes import command
from tests.support.projects import SCHEMA, SPEC, write_job
from tests.support.simulator import (
    HIDDEN_TOKENS,
    accepted,
    bill,
    charge,
    environ_without_key,
    most_usage,
    simulator,
)

pytestmark = pytest.mark.slow

PARAMS = {"model": "claude-haiku-5-5", "max_tokens": 1000}


def spending(seed: int) -> Callable[[bytes, dict[str, Any]], dict[str, Any]]:
    """Usage that is random, within what a request can use: its bytes, and max_tokens."""
    chance = random.Random(seed)
    greed = chance.choice([0.05, 0.3, 0.8, 1.0])

    def usage(params: bytes, before: dict[str, Any]) -> dict[str, Any]:
        size = int(len(params) * chance.uniform(0, greed))
        cached = json.loads(params).get("system") if b"cache_control" in params else None
        written = size // 2 if cached else 0
        long = written if b'"1h"' in params else 0
        created = {"ephemeral_1h_input_tokens": long, "ephemeral_5m_input_tokens": written - long}
        return {
            **before,
            "input_tokens": size - written,
            "output_tokens": int(1000 * chance.uniform(0, greed)),
            "cache_creation_input_tokens": written,
            "cache_creation": created,
        }

    return usage


def finished(root: Path, **how: Any) -> bool:
    """Run a job under its cap; whether it came to its end."""
    try:
        return run(load_spec(root / "job.yaml"), **how).state == "finished"
    except (CostCapReached, CanaryFailed):
        return False


@pytest.mark.parametrize("start", range(0, 200, 10))
def test_the_bill_never_exceeds_the_cap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: int) -> None:
    for seed in range(start, start + 10):
        chance, root = random.Random(f"cap {seed}"), tmp_path / str(seed)
        cap = chance.choice([0.0004, 0.0015, 0.004, 0.02])
        write_job(
            root,
            rows=chance.randint(5, 40),
            params=PARAMS,
            prompt={"system": "Label the text.", "user": "{{ text }}", "cache": chance.choice(["5m", "1h"])},
            batch={**SPEC["batch"], "max_requests": chance.choice([3, 8, 100]), "poll_seconds": 0.02},
            limits={"max_cost": cap},
            mode=chance.choice(["batch", "batch", "sync"]),
            canary=chance.choice([0, 0, 2]),
            retry={"attempts": chance.choice([1, 3])},
        )
        faults = chance.choice([[], ["answer-then-drop:2"], ["invalid:20%"], ["accept-then-drop", "expired:30%"]])
        usage = spending(seed)
        with simulator(root / "api", seconds=0.02, usage=usage, faults=faults, fault_delay=0.1) as environ:
            for name in ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"):
                monkeypatch.setenv(name, environ[name])
            try:
                finished(root)
            finally:
                assert bill(root / "api") <= cap, (seed, cap, bill(root / "api"))


FAULTS = [
    (),
    ("invalid:30%", "answer-then-drop:2"),
    ("late-commit:1", "stubborn:30%"),
    ("refuse-504:1", "expired:20%", "answer-then-504:1"),
    ("accept-then-drop:1", "line-missing:1", "errored:20%"),
    ("archived:1", "truncated:20%"),
    ("deleted:1", "answer-then-html:1"),
    ("refused-row:4", "late-commit:2", "cancel-half:50%"),
    ("refuse-529:2", "message-529:2", "line-conflict:3", "cancel-half:50%"),
]
"""Faults of one process, at random."""


class Account:
    """The true bill of each run of a project, in which a request counts even if its answer never arrives."""

    def __init__(self, root: Path, chance: random.Random) -> None:
        self.root, self.chance, self.spend = root, chance, spending(chance.randrange(1000))
        self.share_missing, self.is_greedy = chance.choice([0, 0, 0.2]), chance.random() < 0.5
        self.missing, self.synchronous = defaultdict[str, float](float), defaultdict[str, float](float)
        self.answers = 0
        self.here = threading.local()

    def mix(self, custom_id: str) -> str:
        """Lose some lines of results that are paid."""
        is_lost = custom_id != "" and self.chance.random() < self.share_missing
        self.here.lost = custom_id[:13] if is_lost else None
        return "missing" if is_lost else "succeeded"

    def usage(self, params: bytes, before: dict[str, Any]) -> dict[str, Any]:
        """Random usage, with the tokens that the API adds and at the prices of a region."""
        used = most_usage(params, before)
        if not self.is_greedy:
            used = self.spend(params, before)
            used["input_tokens"] += self.chance.choice([0, 300, HIDDEN_TOKENS])
            used["inference_geo"] = self.chance.choice(["us", "global"])
        if (run_id := getattr(self.here, "lost", None)) is not None:
            self.missing[run_id] += charge(used) / 2
            self.here.lost = None
        return used

    def newest_run(self, spec: str) -> str:
        """The id of the newest run of a spec, to which the synchronous answers since the last look belong."""
        with sqlite3.connect(self.root / ".runner/state.db") as state:
            found = state.execute("SELECT id FROM run WHERE spec = ? ORDER BY number DESC", (spec,)).fetchone()
        state.close()
        path, run_id = self.root / "api/messages.jsonl", found[0] if found else ""
        answers = records(path)[self.answers :] if path.exists() else []
        self.answers += len(answers)
        self.synchronous[run_id] += sum(charge(one["usage"]) for one in answers)
        return run_id

    def total(self, run_id: str) -> float:
        """The bill of one run."""
        lines = [one for path in (self.root / "api").glob("msgbatch_*.jsonl") for one in records(path)]
        ours = [one["result"] for one in lines if one["custom_id"].startswith(run_id)]
        batched = sum(charge(one["message"]["usage"]) / 2 for one in ours if one["type"] == "succeeded")
        return batched + self.missing[run_id] + self.synchronous[run_id]


def write_random_job(root: Path, chance: random.Random) -> Path:
    """Write a job with random settings; only its cap changes later."""
    name = chance.choice(["first", "second"])
    if (root / f"{name}.yaml").exists():
        return root / f"{name}.yaml"
    write_job(
        root,
        name=name,
        rows=24,
        params=PARAMS,
        prompt={"system": f"Label the text {name}.", "user": "{{ text }}", "cache": chance.choice(["5m", "1h"])},
        batch={
            **SPEC["batch"],
            "max_requests": chance.choice([3, 8, 100]),
            "poll_seconds": 0.02,
            "grace_seconds": 0.05,
        },
        mode=chance.choice(["batch", "batch", "sync"]),
        canary=chance.choice([0, 0, 2]),
        retry={
            "attempts": chance.choice([1, 3]),
            "repair": chance.random() < 0.5,
            "on": ["errored", "expired", "invalid", *chance.choice([[], ["missing"]])],
            "brake": "off",
        },
        **chance.choice([{}, {"deadline": "0.1s", "on_deadline": chance.choice(["sync", "cancel", "wait"])}]),
        output={"schema": SCHEMA},
        sinks=[{"type": "jsonl", "path": f"out/{name}.jsonl"}],
    )
    text = (root / "job.yaml").read_text().replace("out/all.jsonl", f"out/{name}.jsonl")
    (root / f"{name}.yaml").write_text(text)
    return root / f"{name}.yaml"


SEQUENCES = int(os.environ.get("CAP_SEQUENCES", "12"))


@pytest.mark.parametrize("seed", range(SEQUENCES))
def test_no_send_exceeds_the_cap_of_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    chance = random.Random(f"sequence {seed}")
    account, bills = Account(tmp_path, chance), dict[str, float]()
    for _ in range(chance.randint(3, 5)):
        path, cap = write_random_job(tmp_path, chance), chance.choice([0.0015, 0.004, 0.008, 0.02, 0.04])
        path.write_text(json.dumps({**json.loads(path.read_text()), "limits": {"max_cost": cap}}))
        settings: dict[str, Any] = {"faults": chance.choice(FAULTS), "seconds": chance.choice([0.02, 0.3])}
        how: dict[str, Any] = {"wait": chance.random() < 0.7, "accept_loss": chance.random() < 0.5}
        hooks: dict[str, Any] = {"mix": account.mix, "usage": account.usage}
        with simulator(tmp_path / "api", fault_delay=1000, **settings, **hooks) as environ:
            for name in ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"):
                monkeypatch.setenv(name, environ[name])
            # However the process ends, its bill counts.
            with suppress(RunnerError):
                run(load_spec(path), **how)
        run_id = account.newest_run(path.stem)
        bill_now = account.total(run_id)
        assert bill_now <= max(cap, bills.get(run_id, 0.0)) + 1e-9, (path.stem, cap, settings, how)
        bills[run_id] = bill_now


def test_run_pauses_at_its_cap_and_resumes_under_a_higher_cap(
    tmp_path: Path, run_job: Callable[..., Summary]
) -> None:
    write_job(tmp_path, params=PARAMS, limits={"max_cost": 0.0004})
    with pytest.raises(
        CostCapReached, match=r"the run is paused: .* raise the cap .* and run the same command again"
    ) as raised:
        run_job(consent=False)
    likely, sure = re.findall(r"to about \$([\d.]+) \(\$([\d.]+) is enough", str(raised.value))[0]
    assert 0.0004 < float(likely) <= float(sure)
    done = records(tmp_path / "out/all.jsonl")
    sent = accepted(tmp_path / "api")
    assert 0 < len(done) < 20
    assert {one["outcome"] for one in done} == {"succeeded"}
    with pytest.raises(CostCapReached):
        run_job(consent=False)
    assert accepted(tmp_path / "api") == sent
    write_job(tmp_path, params=PARAMS, limits={"max_cost": float(likely)})
    assert run_job(consent=False).outcomes == {"succeeded": 20}
    assert [one["key"] for one in records(tmp_path / "out/all.jsonl")] == [f"r{n}" for n in range(1, 21)]


def test_batch_over_the_cap_is_split(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    batch = {**SPEC["batch"], "max_requests": 1000}
    # One request can cost about 0.0003, and does cost a twentieth of it.
    write_job(tmp_path, params=PARAMS, batch=batch, limits={"max_cost": 0.004})
    summary = run_job(consent=False)
    assert summary.outcomes == {"succeeded": 20}
    assert len(summary.batches) > 1
    assert 0 < (summary.cost["actual"] or 0) < 0.004


def test_without_room_for_one_request_nothing_is_sent(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, params=PARAMS, limits={"max_cost": 0.0001})
    with pytest.raises(CostCapReached, match=r"cost up to \$0\.0000 of limits\.max_cost \$0\.0001"):
        run_job(consent=False)
    assert accepted(tmp_path / "api") == 0
    assert records(tmp_path / "out/all.jsonl") == []


def test_a_cap_is_the_consent_of_an_unattended_run(tmp_path: Path) -> None:
    write_job(tmp_path, limits={"max_cost": 5})
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, "run", "job.yaml")
    assert (ended.returncode, "capped at $5" in ended.stderr) == (0, True), ended.stderr


def test_the_exit_code_of_a_paused_run_is_7(tmp_path: Path) -> None:
    write_job(tmp_path, params=PARAMS, limits={"max_cost": 0.0001})
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, "run", "job.yaml")
    assert (ended.returncode, "Traceback" in ended.stderr) == (7, False)


def test_too_many_rows_is_an_error_before_sending(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, limits={"max_rows": 19})
    with pytest.raises(InputError, match=r"job\.yaml:1:\d+: the source has more than 19 rows"):
        run_job()
    assert accepted(tmp_path / "api") == 0
    write_job(tmp_path, limits={"max_rows": 20})
    assert run_job().outcomes == {"succeeded": 20}


def test_cap_without_a_price_is_rejected(tmp_path: Path) -> None:
    write_job(tmp_path, params={"model": "claude-of-tomorrow", "max_tokens": 5}, limits={"max_cost": 1})
    ended = command(tmp_path, environ_without_key(), "run", "job.yaml", "--simulate")
    assert (ended.returncode, "[cap-without-price]" in ended.stderr) == (2, True)


@pytest.mark.parametrize(
    ("fault", "error"), [("late-commit:1", ManualDecisionRequired), ("archived:1", ResultsLost)]
)
def test_lost_batch_does_not_block_a_capped_run(
    tmp_path: Path, run_job: Callable[..., Summary], fault: str, error: type[Exception]
) -> None:
    batch = {**SPEC["batch"], "max_requests": 8, "grace_seconds": 0.3, "on_unknown": "stop"}
    write_job(tmp_path, params=PARAMS, batch=batch, limits={"max_cost": 0.003})
    with pytest.raises(error):
        run_job(faults=[fault], lag=300)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"params": {**PARAMS, "speed": "fast"}}, "cap-without-price"),
        ({"params": {**PARAMS, "fallbacks": [{"model": "claude-opus-5"}]}}, "cap-without-price"),
        ({"params": {**PARAMS, "tools": [{"type": "web_fetch_20260309"}]}}, "cap-with-server-tools"),
    ],
)
def test_unenforceable_cap_is_rejected(tmp_path: Path, changes: Any, rule: str) -> None:
    write_job(tmp_path, mode="sync", limits={"max_cost": 1}, **changes)
    ended = command(tmp_path, environ_without_key(), "validate", "job.yaml")
    assert (ended.returncode, f"[{rule}]" in ended.stderr) == (2, True), ended.stderr


def test_client_run_anthropic_tool_can_be_capped(tmp_path: Path) -> None:
    write_job(
        tmp_path, params={**PARAMS, "tools": [{"type": "bash_20250124", "name": "bash"}]}, limits={"max_cost": 1}
    )
    ended = command(tmp_path, environ_without_key(), "validate", "job.yaml")
    assert (ended.returncode, "[client-tools]" in ended.stderr) == (0, True), ended.stderr


def test_cache_writes_count_when_input_is_free(tmp_path: Path) -> None:
    prompt = {"system": "Label it.", "user": "{{ text }}", "cache": "5m"}
    prices = {"input": 0, "output": 0, "write_5m": 5}
    rate = rate_for_spec(load_spec(write_job(tmp_path, prompt=prompt, prices=prices)))
    assert rate is not None
    assert rate.cost_upper_bound([1_000_000], is_batched=False) > 5
