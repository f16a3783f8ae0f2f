"""An invalid answer is shown to the model with what is wrong with it, and sent in the next round."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import Summary
from runner.requests.conversation import ask_for_repair
from tests.jobs import SCHEMA, SPEC, paid, records, write_job

REPAIR = {"attempts": 3, "repair": True}
STUBBORN = ["stubborn:20%"]


def stubborn(custom_id: str) -> str:
    """One row in five makes its mistake whenever it is asked the same."""
    return "stubborn" if int(custom_id.rpartition("-")[2]) % 5 == 0 else "succeeded"


def second_round(root: Path) -> list[dict[str, Any]]:
    body = next((root / ".runner/runs").glob("*/bodies/2-1.json"))
    return [one["params"] for one in json.loads(body.read_text())["requests"]]


def test_repair_fixes_answers_that_a_retry_does_not(tmp_path: Path, job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=200)
    assert job(mix=stubborn).outcomes == {"succeeded": 160, "invalid": 40}
    write_job(tmp_path, rows=200, retry=REPAIR, reuse=False)
    summary = job(mix=stubborn, new=True)
    assert summary.outcomes == {"succeeded": 200}
    rounds = [int(one["custom_id"].split("-")[1]) for one in records(tmp_path / "out/all.jsonl")]
    assert (rounds.count(1), rounds.count(2)) == (160, 40)


def test_seeded_mistakes_are_repaired_within_three_rounds(tmp_path: Path, job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=500, retry=REPAIR)
    summary = job(faults=STUBBORN)
    assert summary.outcomes["succeeded"] >= 0.99 * 500
    assert sum(paid(tmp_path / "api").values()) < 1.4 * 500


def test_repair_sends_the_answer_and_its_error(tmp_path: Path, job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=5, retry=REPAIR)
    assert job(mix=stubborn).outcomes == {"succeeded": 5}
    [params] = second_round(tmp_path)
    assert [turn["role"] for turn in params["messages"]] == ["user", "assistant", "user"]
    assert params["messages"][1]["content"][0]["text"] == "Not what the schema asked for."
    assert "This cannot be used: not JSON" in params["messages"][2]["content"]
    assert {name: params[name] for name in SPEC["params"]} == SPEC["params"]


def test_repair_answers_a_tool_call_with_an_error(tmp_path: Path, job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=5, retry=REPAIR, output={"schema": SCHEMA, "tool": "record"})
    assert job(mix=stubborn).outcomes == {"succeeded": 5}
    [params] = second_round(tmp_path)
    [result] = params["messages"][2]["content"]
    assert (result["type"], result["tool_use_id"], result["is_error"]) == ("tool_result", "toolu_simulated", True)
    assert "required property" in result["content"]


def test_repair_too_long_for_a_body_is_a_plain_retry(tmp_path: Path, job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=5, retry=REPAIR)
    job(mix=stubborn)
    size = max(len(json.dumps(params)) for params in second_round(tmp_path))
    write_job(tmp_path, rows=5, retry=REPAIR, reuse=False, batch={**SPEC["batch"], "max_bytes": size})
    assert job(mix=stubborn, new=True).outcomes == {"succeeded": 4, "invalid": 1}


@pytest.mark.parametrize("mode", ["batch", "sync"])
def test_a_repaired_answer_is_reused_under_its_first_request(
    tmp_path: Path, job: Callable[..., Summary], mode: str
) -> None:
    write_job(tmp_path, rows=10, retry=REPAIR, mode=mode)
    if mode == "batch":
        assert job(mix=stubborn).outcomes == {"succeeded": 10}
    else:
        assert job(faults=["stubborn:2"]).outcomes == {"succeeded": 10}
    write_job(tmp_path, rows=11, retry=REPAIR)
    before = sum(paid(tmp_path / "api").values())
    assert job().outcomes == {"succeeded": 11}
    assert sum(paid(tmp_path / "api").values()) == before + 1


def test_repair_omits_an_answer_without_text() -> None:
    params = b'{"messages":[{"role":"user","content":"Hi"}]}'
    line = b'{"custom_id":"x","result":{"message":{"content":[{"type":"text","text":" "}]}}}'
    assert ask_for_repair(params, line, "it is empty") == params
