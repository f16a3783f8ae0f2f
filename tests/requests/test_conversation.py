"""Paused turns of server tools and repaired answers continue in the next round."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import Summary
from runner.requests.conversation import ask_for_repair, continue_turn
from runner.simulator.responses import DropConnection
from tests.support.outputs import records
from tests.support.processes import command, end, kill, start
from tests.support.projects import SCHEMA, SPEC, write_job
from tests.support.simulator import paid, simulator

SEARCH = {**SPEC["params"], "tools": [{"type": "web_search_20260209", "name": "web_search"}]}


def paused(custom_id: str) -> str:
    """Every third row pauses twice."""
    return "paused" if int(custom_id.rpartition("-")[2]) % 3 == 0 else "succeeded"


def requests_of_round(root: Path, round: int) -> list[dict[str, Any]]:
    body = next((root / ".runner/runs").glob(f"*/bodies/{round}-1.json"))
    return [one["params"] for one in json.loads(body.read_text())["requests"]]


def test_paused_turn_continues_until_done(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=6, params=SEARCH)
    summary = run_job(mix=paused)
    assert summary.outcomes == {"succeeded": 6}
    assert paid(tmp_path / "api") == {
        **{("1", row): 1 for row in range(1, 7)}, ("2", 3): 1, ("2", 6): 1, ("3", 3): 1, ("3", 6): 1
    }  # fmt: skip
    [first, _] = requests_of_round(tmp_path, 3)
    assert [turn["role"] for turn in first["messages"]] == ["user", "assistant"]
    assert [block["type"] for block in first["messages"][1]["content"]] == [
        "server_tool_use", "web_search_tool_result"
    ] * 2  # fmt: skip
    assert first["container"] == "container_1"
    assert {name: first[name] for name in SEARCH} == SEARCH
    rounds = [one["custom_id"].split("-")[1] for one in records(tmp_path / "out/all.jsonl")]
    assert rounds == ["1", "1", "3", "1", "1", "3"]


def test_paused_turn_ignores_attempts_but_not_the_last_round(
    tmp_path: Path, run_job: Callable[..., Summary]
) -> None:
    write_job(tmp_path, rows=6, params=SEARCH, retry={"attempts": 1})
    assert run_job(mix=paused).outcomes == {"succeeded": 6}
    write_job(tmp_path, rows=6, params=SEARCH, retry={"attempts": 5, "max_rounds": 2}, reuse=False)
    assert run_job(mix=paused, new=True).outcomes == {"succeeded": 4, "truncated": 2}
    [error] = {json.dumps(one["error"]) for one in records(tmp_path / "out/all.jsonl") if one["error"]}
    assert json.loads(error) == {"type": "truncated", "message": "the answer stopped at pause_turn"}


def test_paused_turn_continues_synchronously(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=6, params=SEARCH, mode="sync")
    assert run_job(faults=["paused"]).outcomes == {"succeeded": 6}


@pytest.mark.parametrize("round", [1, 2, 3])
def test_run_killed_between_rounds_resumes(tmp_path: Path, round: int) -> None:
    write_job(tmp_path, rows=6, params=SEARCH)
    seen: list[str] = []

    def on(name: str) -> None:
        seen.append(name)
        if name == "created" and seen.count(name) == round:
            kill(process.pid)
            raise DropConnection

    run = ("run", "job.yaml", "--yes")
    with simulator(tmp_path / "api", mix=paused, on=on) as environ:
        process = start(tmp_path, environ, *run)
        assert end(tmp_path, process).returncode == -9
        assert command(tmp_path, environ, *run).returncode == 0
    assert set(paid(tmp_path / "api").values()) == {1}
    assert sum(paid(tmp_path / "api").values()) == 10


def assistant_line(*content: dict[str, Any]) -> bytes:
    return json.dumps(
        {"custom_id": "r", "result": {"type": "succeeded", "message": {"content": content}}}
    ).encode()


def test_answer_is_appended_to_the_assistant_turn() -> None:
    params = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "So"}]}
    given, answer = json.dumps(params).encode(), {"type": "text", "text": "far"}
    [_, turn] = json.loads(continue_turn(given, assistant_line(answer)))["messages"]
    assert turn == {"role": "assistant", "content": [{"type": "text", "text": "So"}, answer]}
    [_, turn, asked] = json.loads(ask_for_repair(given, assistant_line(answer), "too short"))["messages"]
    assert (turn["content"][1], asked["role"]) == (answer, "user")


def test_answer_without_content_is_requested_again() -> None:
    given = json.dumps({"messages": [{"role": "user", "content": "q"}]}).encode()
    assert continue_turn(given, assistant_line()) == given


def test_container_keeps_its_requested_skills() -> None:
    params = {"messages": [{"role": "user", "content": "q"}], "container": {"skills": [{"skill_id": "pptx"}]}}
    message = {"content": [{"type": "text", "text": "So"}], "container": {"id": "container_1"}}
    answer = json.dumps({"custom_id": "r", "result": {"type": "succeeded", "message": message}}).encode()
    found = json.loads(continue_turn(json.dumps(params).encode(), answer))["container"]
    assert found == {"skills": [{"skill_id": "pptx"}], "id": "container_1"}


REPAIR = {"attempts": 3, "repair": True}
STUBBORN = ["stubborn:20%"]


def stubborn(custom_id: str) -> str:
    """One row in five makes its mistake whenever it is asked the same."""
    return "stubborn" if int(custom_id.rpartition("-")[2]) % 5 == 0 else "succeeded"


def second_round(root: Path) -> list[dict[str, Any]]:
    body = next((root / ".runner/runs").glob("*/bodies/2-1.json"))
    return [one["params"] for one in json.loads(body.read_text())["requests"]]


def test_repair_fixes_answers_that_a_retry_does_not(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=200, retry={"brake": "off"})
    assert run_job(mix=stubborn).outcomes == {"succeeded": 160, "invalid": 40}
    write_job(tmp_path, rows=200, retry=REPAIR, reuse=False)
    summary = run_job(mix=stubborn, new=True)
    assert summary.outcomes == {"succeeded": 200}
    rounds = [int(one["custom_id"].split("-")[1]) for one in records(tmp_path / "out/all.jsonl")]
    assert (rounds.count(1), rounds.count(2)) == (160, 40)


def test_seeded_mistakes_are_repaired_within_three_rounds(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=500, retry=REPAIR)
    summary = run_job(faults=STUBBORN)
    assert summary.outcomes["succeeded"] >= 0.99 * 500
    assert sum(paid(tmp_path / "api").values()) < 1.4 * 500


def test_repair_sends_the_answer_and_its_error(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=5, retry=REPAIR)
    assert run_job(mix=stubborn).outcomes == {"succeeded": 5}
    [params] = second_round(tmp_path)
    assert [turn["role"] for turn in params["messages"]] == ["user", "assistant", "user"]
    assert params["messages"][1]["content"][0]["text"] == "Not what the schema asked for."
    assert "This cannot be used: not JSON" in params["messages"][2]["content"]
    assert {name: params[name] for name in SPEC["params"]} == SPEC["params"]


def test_repair_answers_a_tool_call_with_an_error(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=5, retry=REPAIR, output={"schema": SCHEMA, "tool": "record"})
    assert run_job(mix=stubborn).outcomes == {"succeeded": 5}
    [params] = second_round(tmp_path)
    [result] = params["messages"][2]["content"]
    assert (result["type"], result["tool_use_id"], result["is_error"]) == ("tool_result", "toolu_simulated", True)
    assert "required property" in result["content"]


def test_repair_too_long_for_a_body_is_a_plain_retry(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=5, retry=REPAIR)
    run_job(mix=stubborn)
    size = max(len(json.dumps(params)) for params in second_round(tmp_path))
    write_job(tmp_path, rows=5, retry=REPAIR, reuse=False, batch={**SPEC["batch"], "max_bytes": size})
    assert run_job(mix=stubborn, new=True).outcomes == {"succeeded": 4, "invalid": 1}


@pytest.mark.parametrize("mode", ["batch", "sync"])
def test_a_repaired_answer_is_reused_under_its_first_request(
    tmp_path: Path, run_job: Callable[..., Summary], mode: str
) -> None:
    write_job(tmp_path, rows=10, retry=REPAIR, mode=mode)
    if mode == "batch":
        assert run_job(mix=stubborn).outcomes == {"succeeded": 10}
    else:
        assert run_job(faults=["stubborn:2"]).outcomes == {"succeeded": 10}
    write_job(tmp_path, rows=11, retry=REPAIR)
    before = sum(paid(tmp_path / "api").values())
    assert run_job().outcomes == {"succeeded": 11}
    assert sum(paid(tmp_path / "api").values()) == before + 1


def test_repair_omits_an_answer_without_text() -> None:
    params = b'{"messages":[{"role":"user","content":"Hi"}]}'
    line = b'{"custom_id":"x","result":{"message":{"content":[{"type":"text","text":" "}]}}}'
    assert ask_for_repair(params, line, "it is empty") == params
