"""A collector gets a span for each run, batch and API call, and the tokens and the cost of each batch."""

import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.outputs import records
from tests.support.processes import RUN, RUN_SIMULATED, Ended, command, end, kill, start
from tests.support.projects import BATCHES, ROWS, RUN_CHAIN, write_chain, write_job
from tests.support.simulator import bill, end_batches, simulator
from tests.telemetry.collector import Collector, Sent, collector

RUN_SPAN, BATCH_SPAN = "invoke_workflow job", "chat claude-haiku-5-5"
CREATE, RESULTS = "anthropic.messages.batches.create", "anthropic.messages.batches.results"
TOKENS, COST = "gen_ai.client.token.usage", "runner.cost"


@pytest.fixture
def found() -> Iterator[Collector]:
    with collector() as one:
        yield one


def naming(environ: Mapping[str, str], found: Collector) -> dict[str, str]:
    """The environment, with the address of a collector."""
    return {**environ, "OTEL_EXPORTER_OTLP_ENDPOINT": found.url}


def run(root: Path, found: Collector, *words: str, seconds: float = 0.2, **settings: Any) -> Ended:
    """Run the job against a simulator, with a collector."""
    with simulator(root / "api", seconds=seconds, **settings) as environ:
        return command(root, naming(environ, found), *(words or RUN))


def usage(folder: Path) -> dict[str, int]:
    """The tokens of all answers of a simulator; those in a cache count as input."""
    lines = [line for path in folder.glob("msgbatch_*.jsonl") for line in records(path)]
    used = [line["result"]["message"]["usage"] for line in lines if line["result"]["type"] == "succeeded"]
    if (folder / "messages.jsonl").exists():
        used += [one["usage"] for one in records(folder / "messages.jsonl")]
    cached = ("cache_creation_input_tokens", "cache_read_input_tokens")
    return {
        "input": sum(one["input_tokens"] + sum(one[name] for name in cached) for one in used),
        "output": sum(one["output_tokens"] for one in used),
    }


def check_sums(found: Collector, api: Path) -> None:
    """The metrics, and the spans of the batches, add up to what the API has counted and billed."""
    wanted, batches = usage(api), found.named(BATCH_SPAN)
    points = found.points(TOKENS)
    for kind in ("input", "output"):
        assert sum(sum for sum, about in points if about["gen_ai.token.type"] == kind) == wanted[kind]
        name = f"gen_ai.usage.{kind}_tokens"
        assert sum(one.attributes.get(name, 0) for one in batches) == wanted[kind]
    assert sum(sum for sum, _ in found.points(COST)) == pytest.approx(bill(api))
    assert sum(one.attributes.get("runner.cost.actual", 0) for one in batches) == pytest.approx(bill(api))


def is_within(inner: Sent, outer: Sent) -> bool:
    return inner.parent == outer.id and outer.start <= inner.start <= inner.end <= outer.end


def test_calls_are_below_their_batch_and_the_run(tmp_path: Path, found: Collector) -> None:
    write_job(tmp_path)
    assert run(tmp_path, found).returncode == 0
    [root], batches = found.named(RUN_SPAN), found.named(BATCH_SPAN)
    assert root.parent == "" and len(batches) == BATCHES
    assert all(is_within(batch, root) for batch in batches)
    for name in (CREATE, RESULTS):
        calls = found.named(name)
        assert len(calls) == BATCHES, name  # one span a call, though the SDK of the API can make spans too
        assert all(is_within(call, batch) for call, batch in zip(calls, sorted_as(calls, batches), strict=True))
    assert {one.trace for one in found.spans()} == {root.trace, found.named("plan job")[0].trace}


def sorted_as(calls: list[Sent], batches: list[Sent]) -> list[Sent]:
    """The batch of each call."""
    by_id = {batch.id: batch for batch in batches}
    return [by_id[call.parent] for call in calls]


def test_attributes_are_those_of_the_conventions(tmp_path: Path, found: Collector) -> None:
    write_job(tmp_path, labels={"team": "billing"})
    assert run(tmp_path, found).returncode == 0
    [root], batch = found.named(RUN_SPAN), found.named(BATCH_SPAN)[0]
    common = {
        "gen_ai.provider.name": "anthropic", "gen_ai.request.model": "claude-haiku-5-5", "runner.spec": "job",
        "runner.simulated": False, "runner.label.team": "billing",
    }  # fmt: skip
    assert root.attributes.items() >= {**common, "gen_ai.operation.name": "invoke_workflow"}.items()
    assert batch.attributes.items() >= {**common, "gen_ai.operation.name": "chat"}.items()
    assert root.attributes.items() >= {"runner.run.state": "finished", "runner.outcomes.succeeded": ROWS}.items()
    assert batch.attributes["runner.run.id"] == root.attributes["runner.run.id"]
    assert batch.attributes.items() >= {"runner.batch.state": "collected", "runner.batch.resumed": False}.items()
    [call] = [one for one in found.named(RESULTS) if one.parent == batch.id]
    assert call.attributes["runner.batch.id"] == batch.attributes["runner.batch.id"]
    assert (call.kind, call.attributes["server.address"]) == (3, "127.0.0.1")


def test_tokens_and_cost_are_those_of_the_bill(tmp_path: Path, found: Collector) -> None:
    write_job(tmp_path)
    assert run(tmp_path, found, faults=["expired:3"]).returncode == 0
    check_sums(found, tmp_path / "api")
    [root] = found.named(RUN_SPAN)
    assert root.attributes["runner.cost.actual"] == pytest.approx(bill(tmp_path / "api"))


def test_messages_sent_synchronously_are_below_a_batch(tmp_path: Path, found: Collector) -> None:
    write_job(tmp_path, mode="sync")
    assert run(tmp_path, found).returncode == 0
    batches, messages = found.named(BATCH_SPAN), found.named("anthropic.messages.create")
    assert len(messages) == ROWS
    assert {one.parent for one in messages} == {one.id for one in batches}
    assert {one.attributes["runner.batch.mode"] for one in batches} == {"sync"}
    check_sums(found, tmp_path / "api")


def test_no_content_leaves_the_machine(tmp_path: Path, found: Collector) -> None:
    write_job(tmp_path, prompt={"system": "canary-prompt", "user": "{{ text }}"}, vars={"word": "canary-variable"})
    rows = "".join(f"canary-key{number},canary-text {number}\n" for number in range(20))
    (tmp_path / "rows.csv").write_text(f"id,text\n{rows}")
    ended = run(tmp_path, found, faults=["errored:2", "invalid:2", "refused-row:6"])
    assert "row 6 is rejected" in ended.stderr
    assert b"canary-key7" in (tmp_path / "out/all.jsonl").read_bytes()
    received = b"".join(body for _, body in found.bodies)
    assert b"invoke_workflow" in received and len(found.named(CREATE)) > BATCHES
    assert b"canary" not in received and b"good" not in received and b"refused" not in received


def test_failed_call_is_recorded_by_its_kind_alone(tmp_path: Path, found: Collector) -> None:
    write_job(tmp_path)
    ended = run(tmp_path, found, faults=["billing"])
    assert ended.returncode == 7, ended.stderr
    failed = [one for one in found.spans() if one.is_error]
    assert {one.attributes["error.type"] for one in failed} == {"AccessError"}
    assert failed[0].attributes["http.response.status_code"] == 402


def test_simulated_run_is_marked(tmp_path: Path, found: Collector) -> None:
    write_job(tmp_path)
    assert command(tmp_path, naming({}, found), *RUN_SIMULATED).returncode == 0
    marked = found.named(RUN_SPAN, BATCH_SPAN, "plan job")
    assert len(marked) == BATCHES + 2
    assert all(one.attributes["runner.simulated"] for one in marked)
    assert all(about["runner.simulated"] for _, about in found.points(TOKENS) + found.points(COST))


def test_each_run_of_several_specs_is_a_root(tmp_path: Path, found: Collector) -> None:
    write_chain(tmp_path)
    assert run(tmp_path, found, *RUN_CHAIN).returncode == 0
    roots = [one for one in found.spans() if one.name.startswith("invoke_workflow")]
    assert sorted(one.name.split()[1] for one in roots) == ["first", "second", "third"]
    batches = found.named(BATCH_SPAN)
    assert {(one.trace, one.parent) for one in batches} == {(one.trace, one.id) for one in roots}


def test_two_processes_each_record_what_they_saw(tmp_path: Path, found: Collector) -> None:
    write_job(tmp_path)
    assert run(tmp_path, found, *RUN, "--no-wait", seconds=600).returncode == 4
    sent = found.named(BATCH_SPAN)
    assert {one.attributes["runner.batch.state"] for one in sent} == {"submitted"}
    end_batches(tmp_path / "api")
    assert run(tmp_path, found).returncode == 0
    first, second = found.named(RUN_SPAN)
    resumed = [one for one in found.named(BATCH_SPAN) if one.parent == second.id]
    assert all(one.attributes["runner.batch.resumed"] and one.start >= second.start > first.end for one in resumed)
    for name in ("runner.batch.id", "runner.batch.created_at"):
        assert {one.attributes[name] for one in resumed} == {one.attributes[name] for one in sent}
    assert first.attributes["runner.run.id"] == second.attributes["runner.run.id"]
    check_sums(found, tmp_path / "api")


def wait_for(root: Path, text: str, *, times: int = 1) -> None:
    """Wait for the log of a command to say something."""
    while (root / "stderr").read_text().count(text) < times:
        time.sleep(0.02)


def test_killed_run_is_counted_once_after_it_is_resumed(tmp_path: Path, found: Collector) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api", seconds=600) as environ:
        process = start(tmp_path, naming(environ, found), *RUN)
        wait_for(tmp_path, "submitted as", times=BATCHES)
        kill(process.pid)
        assert end(tmp_path, process).returncode == -9
    end_batches(tmp_path / "api")
    assert run(tmp_path, found).returncode == 0
    resumed = [one for one in found.named(BATCH_SPAN) if one.attributes["runner.batch.resumed"]]
    assert len(resumed) == BATCHES
    check_sums(found, tmp_path / "api")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_run_sends_what_it_has_recorded(tmp_path: Path, found: Collector, number: int) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api", seconds=600) as environ:
        process = start(tmp_path, naming(environ, found), *RUN)
        wait_for(tmp_path, "submitted as", times=BATCHES)
        os.kill(process.pid, number)
        assert end(tmp_path, process).returncode == 128 + number
    [root] = found.named(RUN_SPAN)
    assert root.attributes["runner.run.state"] == "running" and not root.is_error
    assert len(found.named(BATCH_SPAN)) == BATCHES


def test_variables_of_a_project_are_read(tmp_path: Path, found: Collector) -> None:
    write_job(tmp_path)
    names = {"OTEL_EXPORTER_OTLP_ENDPOINT": found.url, "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=t"}
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in names.items()))
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
    assert all(one["service.name"] == "runner" for one in found.resources())
    assert all(one["deployment.environment.name"] == "t" for one in found.resources())


def test_summary_of_a_run_is_the_same_with_a_collector(tmp_path: Path, found: Collector) -> None:
    write_job(tmp_path)
    ended = run(tmp_path, found, *RUN, "--json")
    assert ended.returncode == 0 and json.loads(ended.stdout)["state"] == "finished"
    assert "OTEL" not in ended.stderr and "collector" not in ended.stderr
