"""The prompt cache is warmed by one request first, and costs nothing where it would not save."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.outputs import records
from tests.support.processes import RUN, command, kill
from tests.support.projects import write_job
from tests.support.simulator import bill, environ_without_key, paid, simulator

RULES = "The rules of labelling, line after line. " * 2_200
LARGE = {"max_requests": 5_000, "poll_seconds": 0.05}
BATCH = {"max_requests": 20, "poll_seconds": 0.05}
ROWS = int(os.environ.get("CACHE_ROWS", "200"))
TOKEN_NAMES = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
PARAMS = {"model": "claude-haiku-5-5", "max_tokens": 50}
PRICES = {"fresh": 0.10, "out": 0.50, "write": 0.20, "read": 0.01}
"""Published for claude-haiku-5-5 up to 100,000 tokens of prompt, US dollars per million tokens."""


class Clock:
    """The server's clock: the time now and what was added to it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


def write_cached_job(root: Path, *, rows: int = 60, **changes: Any) -> None:
    prompt = {"system": RULES, "user": "{{ text }}", **changes.pop("prompt", {})}
    changes = {"params": PARAMS, "batch": BATCH, **changes}
    write_job(root, rows=rows, prompt=prompt, **changes)


def sizes(folder: Path) -> list[int]:
    """The number of requests of each batch that a simulator has accepted, oldest first."""
    batches = [json.loads(path.read_text()) for path in folder.glob("msgbatch_*.json")]
    return [batch["total"] for batch in sorted(batches, key=lambda batch: float(batch["created_at"]))]


def sums(folder: Path) -> dict[str, int]:
    """The tokens of all results of a simulator, by the API's names."""
    lines = [line["result"] for path in folder.glob("msgbatch_*.jsonl") for line in records(path)]
    usages = [line["message"]["usage"] for line in lines if line["type"] == "succeeded"]
    return {name: sum(usage[name] for usage in usages) for name in TOKEN_NAMES}


def tokens(folder: Path) -> tuple[int, int]:
    """The tokens that all results of a simulator have written to the cache, and read from it."""
    found = sums(folder)
    return found["cache_creation_input_tokens"], found["cache_read_input_tokens"]


def killed_at_first_split() -> None:
    """Have this process killed when it first writes requests again, as the body after those of 60 rows."""

    def watch(event: str, args: tuple[object, ...]) -> None:
        if event == "open" and Path(str(args[0])).name.startswith("1-6.json"):
            kill(os.getpid())

    sys.addaudithook(watch)


def status(root: Path, environ: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(command(root, environ, "status", "--json").stdout)
    return found


def test_one_request_warms_the_cache_for_all_others(tmp_path: Path) -> None:
    write_cached_job(tmp_path)
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, *RUN)
        cost = status(tmp_path, environ)["cost"]
    assert (ended.returncode, sum(paid(tmp_path / "api").values())) == (0, 60)
    assert sizes(tmp_path / "api")[0] == 1
    written, read = tokens(tmp_path / "api")
    assert (read, written > 20_000) == (59 * written, True)
    assert cost["actual"] == pytest.approx(bill(tmp_path / "api"), abs=1e-6)
    saved = (read * (PRICES["fresh"] - PRICES["read"]) - written * (PRICES["write"] - PRICES["fresh"])) / 2e6
    assert cost["saved_by_cache"] == pytest.approx(saved, abs=1e-6)
    assert f"{written:,} tokens written, {read:,} read: 98.3% of what was cached; saved $" in ended.stdout


@pytest.mark.parametrize(
    ("cache", "factor"),
    [("off", 0), ("auto", 2 + 0.1 * (ROWS - 1)), ("5m", 1.25 * ROWS)],
    ids=["uncached", "warmed", "not warmed"],
)
def test_bill_is_the_one_worked_out_by_hand(tmp_path: Path, cache: str, factor: float) -> None:
    """`factor` is the price of all cached prefixes, as a multiple of one prefix at the price of plain input."""
    write_cached_job(tmp_path, rows=ROWS, prompt={"cache": cache, "system": RULES[:32_000]}, batch=LARGE)
    # Batches that are not warmed are sent before the first has ended, or they would read what it wrote.
    with simulator(tmp_path / "api", seconds=ROWS / 1_000 if cache == "5m" else 0.2) as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
        cost = status(tmp_path, environ)["cost"]
    used = sums(tmp_path / "api")
    prefix = sum(tokens(tmp_path / "api")) / ROWS
    assert prefix == (0 if cache == "off" else pytest.approx(8_000, abs=20))
    plain = used["input_tokens"] * PRICES["fresh"] + used["output_tokens"] * PRICES["out"]
    by_hand = (plain + prefix * factor * PRICES["fresh"]) / 2e6
    assert cost["actual"] == pytest.approx(by_hand, abs=1e-6)


def test_cache_off_sets_no_mark(tmp_path: Path) -> None:
    write_cached_job(tmp_path, prompt={"cache": "off"})
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
    assert (tokens(tmp_path / "api"), sizes(tmp_path / "api")[0]) == ((0, 0), 20)


def test_mark_of_the_spec_is_warmed_too(tmp_path: Path) -> None:
    write_cached_job(tmp_path, prompt={"cache": "1h"})
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
    written, read = tokens(tmp_path / "api")
    assert (sizes(tmp_path / "api")[0], read) == (1, 59 * written)


def test_mark_in_a_block_of_the_user_turn_is_warmed(tmp_path: Path) -> None:
    blocks = [{"type": "text", "text": RULES, "cache": "1h"}, {"type": "text", "text": "{{ text }}"}]
    write_job(tmp_path, rows=30, prompt={"user": blocks}, params=PARAMS, batch=BATCH)
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
    written, read = tokens(tmp_path / "api")
    assert (sizes(tmp_path / "api"), read) == ([1, 20, 9], 29 * written)


def test_constant_blocks_of_the_user_turn_are_cached(tmp_path: Path) -> None:
    blocks = [{"type": "text", "text": RULES}, {"type": "text", "text": "{{ text }}"}]
    write_job(tmp_path, rows=60, prompt={"user": blocks}, params=PARAMS, batch=BATCH)
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
    written, read = tokens(tmp_path / "api")
    assert (sizes(tmp_path / "api"), read) == ([1, 20, 19, 18, 2], 59 * written)


def test_few_rows_are_sent_at_once_and_without_marks(tmp_path: Path) -> None:
    write_cached_job(tmp_path, rows=5)
    with simulator(tmp_path / "api") as environ:
        planned = command(tmp_path, environ, "plan", "job.yaml").stdout
        assert command(tmp_path, environ, *RUN).returncode == 0
    assert (sizes(tmp_path / "api"), tokens(tmp_path / "api")) == ([5], (0, 0))
    assert "5 to send in 1 batch\n" in planned
    assert "not done, because it saves less than $0.05" in planned


def test_deadline_leaves_no_time_to_warm_the_cache(tmp_path: Path) -> None:
    write_cached_job(tmp_path, deadline="90m")
    with simulator(tmp_path / "api") as environ:
        planned = command(tmp_path, environ, "plan", "job.yaml").stdout
        assert command(tmp_path, environ, *RUN).returncode == 0
    assert ("would miss the deadline" in planned, tokens(tmp_path / "api")) == (True, (0, 0))


def test_cap_that_fits_without_marks_is_kept(tmp_path: Path) -> None:
    # Without marks the prompts cost at most $0.30, and with them twice as much.
    write_cached_job(tmp_path, limits={"max_cost": 0.5})
    with simulator(tmp_path / "api") as environ:
        planned = command(tmp_path, environ, "plan", "job.yaml").stdout
        assert command(tmp_path, environ, *RUN).returncode == 0
    assert ("would hold batches back" in planned, tokens(tmp_path / "api")) == (True, (0, 0))


def test_synchronous_job_sets_no_marks(tmp_path: Path) -> None:
    write_cached_job(tmp_path, rows=3, mode="sync")
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
    assert all("cache_control" not in json.dumps(one) for one in records(tmp_path / "api" / "messages.jsonl"))


def test_answers_without_marks_are_reused_with_them(tmp_path: Path) -> None:
    write_cached_job(tmp_path, rows=5)
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
        write_cached_job(tmp_path, rows=80)
        planned = command(tmp_path, environ, "plan", "job.yaml").stdout
        assert command(tmp_path, environ, *RUN).returncode == 0
    assert "5 reused" in planned and "cache warmed first, as planned" in planned
    assert sizes(tmp_path / "api")[:2] == [5, 1] and sum(sizes(tmp_path / "api")) == 80


def test_rest_is_sent_without_marks_if_the_warm_up_is_slow(tmp_path: Path, clock: Clock) -> None:
    write_cached_job(tmp_path)
    with simulator(tmp_path / "api", seconds=3 * 3_600, clock=clock) as environ:
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
        assert sizes(tmp_path / "api") == [1]
        clock.ahead += 3_000
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
        assert sizes(tmp_path / "api") == [1]
        clock.ahead += 1_000
        ended = command(tmp_path, environ, *RUN, "--no-wait")
        clock.ahead += 6 * 3_600
        assert (ended.returncode, command(tmp_path, environ, *RUN).returncode) == (4, 0)
    written, read = tokens(tmp_path / "api")
    assert (written > 0, read) == (True, 0)
    assert "sent without a cache mark" in ended.stderr
    assert {*paid(tmp_path / "api").values()} == {1}


@pytest.mark.parametrize("names", [("type", "ttl"), ("ttl", "type")])
@pytest.mark.parametrize("is_first", [False, True])
def test_marks_of_the_spec_are_removed_if_the_warm_up_is_slow(
    tmp_path: Path, clock: Clock, names: tuple[str, str], *, is_first: bool
) -> None:
    mark = {"cache_control": {name: {"type": "ephemeral", "ttl": "1h"}[name] for name in names}}
    tool = {"name": "look_up", "description": RULES, "input_schema": {"type": "object"}}
    marked = {**mark, **tool} if is_first else {**tool, **mark}
    write_cached_job(tmp_path, params={**PARAMS, "tools": [marked]}, prompt={"system": "Label."})
    with simulator(tmp_path / "api", seconds=3 * 3_600, clock=clock) as environ:
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
        clock.ahead += 4_000
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
        clock.ahead += 6 * 3_600
        assert command(tmp_path, environ, *RUN).returncode == 0
    written, read = tokens(tmp_path / "api")
    assert (sizes(tmp_path / "api")[0], 20_000 < written < 30_000, read) == (1, True, 0)


def test_cache_is_read_by_a_run_resumed_after_an_hour(tmp_path: Path, clock: Clock) -> None:
    write_cached_job(tmp_path)
    with simulator(tmp_path / "api", seconds=3_000, clock=clock) as environ:
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
        clock.ahead += 4_000
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
        clock.ahead += 4_000
        assert command(tmp_path, environ, *RUN).returncode == 0
    written, read = tokens(tmp_path / "api")
    assert (sizes(tmp_path / "api")[0], read) == (1, 59 * written)


def test_rest_is_sent_without_marks_after_a_missed_hour(tmp_path: Path, clock: Clock) -> None:
    write_cached_job(tmp_path)
    with simulator(tmp_path / "api", seconds=0.1, clock=clock) as environ:
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
        clock.ahead += 2 * 3_600
        assert command(tmp_path, environ, *RUN).returncode == 0
    assert tokens(tmp_path / "api")[1] == 0
    assert {*paid(tmp_path / "api").values()} == {1}


def test_cache_that_expired_meanwhile_is_warmed_again(tmp_path: Path, clock: Clock) -> None:
    write_cached_job(tmp_path)
    # The queue takes the first batch after the warm-up, and no other for two hours.
    with simulator(tmp_path / "api", seconds=0.1, clock=clock) as environ:
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
    with simulator(tmp_path / "api", seconds=600, clock=clock, faults=["max-queue:22"]) as environ:
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
        assert len(sizes(tmp_path / "api")) == 2
    clock.ahead += 2 * 3_600
    with simulator(tmp_path / "api", seconds=0.1, clock=clock) as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
    assert sizes(tmp_path / "api").count(1) == 2
    assert {*paid(tmp_path / "api").values()} == {1}


def test_warm_up_that_fails_is_repeated_with_another_row(tmp_path: Path) -> None:
    write_cached_job(tmp_path, retry={"attempts": 1})
    with simulator(tmp_path / "api", mix=lambda id: "errored" if id.endswith("-1") else "succeeded") as environ:
        assert command(tmp_path, environ, *RUN).returncode == 3
    written, read = tokens(tmp_path / "api")
    assert (sizes(tmp_path / "api")[:2], read, sum(sizes(tmp_path / "api"))) == ([1, 1], 58 * written, 60)


def test_rest_goes_without_marks_after_two_failed_warm_ups(tmp_path: Path) -> None:
    write_cached_job(tmp_path, retry={"attempts": 1})
    failing = ("-1", "-2")
    with simulator(tmp_path / "api", mix=lambda id: "errored" if id.endswith(failing) else "succeeded") as environ:
        assert command(tmp_path, environ, *RUN).returncode == 3
    assert (tokens(tmp_path / "api"), sum(sizes(tmp_path / "api"))) == ((0, 0), 60)


def test_rejected_warm_up_is_repeated_with_another_row(tmp_path: Path) -> None:
    write_cached_job(tmp_path)
    with simulator(tmp_path / "api", faults=["refused-row:1"]) as environ:
        assert command(tmp_path, environ, *RUN).returncode == 3
    written, read = tokens(tmp_path / "api")
    assert (sizes(tmp_path / "api")[0], read, sum(sizes(tmp_path / "api"))) == (1, 58 * written, 59)


def test_killed_run_waits_for_no_rejected_warm_up(tmp_path: Path) -> None:
    write_cached_job(tmp_path)
    with simulator(tmp_path / "api", faults=["refused-row:1"]) as environ:
        command(tmp_path, environ, *RUN, before=killed_at_first_split)
        assert sizes(tmp_path / "api") == []
        assert command(tmp_path, environ, *RUN).returncode == 3
    assert {*paid(tmp_path / "api").values()} == {1} and sum(sizes(tmp_path / "api")) == 59


def test_canceled_run_does_not_wait_for_its_cache(tmp_path: Path) -> None:
    write_cached_job(tmp_path)
    with simulator(tmp_path / "api", seconds=1) as environ:
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
        assert command(tmp_path, environ, "cancel", "job.yaml").returncode == 0
        assert command(tmp_path, environ, *RUN).returncode in (0, 3)
    assert sizes(tmp_path / "api") == [1]


def test_measured_hit_rate_replaces_the_assumed_one(tmp_path: Path) -> None:
    write_cached_job(tmp_path)
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
        write_cached_job(tmp_path, vars={"other": 1}, reuse=False)
        planned = command(tmp_path, environ, "plan", "job.yaml").stdout
        first = status(tmp_path, environ)["run"]
    assert f"100% read them from a warmed cache (measured in run {first})" in planned


@pytest.mark.parametrize(("cache", "is_marked"), [("auto", True), ("off", False)])
def test_render_shows_the_mark(tmp_path: Path, cache: str, is_marked: bool) -> None:
    write_cached_job(tmp_path, prompt={"cache": cache})
    shown = command(tmp_path, environ_without_key(), "render", "job.yaml", "--limit", "1").stdout
    assert ('"cache_control":{"type":"ephemeral","ttl":"1h"}' in shown) == is_marked
