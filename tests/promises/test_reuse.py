"""An answer of an earlier run or row is not paid again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import Summary, load_spec
from runner.lifecycle.maintain.doctor import diagnose_state
from runner.lifecycle.maintain.purge import find_purgeable, purge_run
from tests.support.outputs import records
from tests.support.projects import SPEC, write_job
from tests.support.simulator import accepted, paid

PROMPT = {"system": "Label the text with care.", "user": "{{ text }}"}


def edit(root: Path, *numbers: int) -> None:
    path = root / "rows.csv"
    text = path.read_text()
    for number in numbers:
        text = text.replace(f"r{number},text number {number}\n", f"r{number},other text {number}\n")
    path.write_text(text)


def sent(root: Path) -> int:
    return sum(paid(root / "api").values())


def test_three_edited_rows_send_three_requests(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    run_job()
    before = records(tmp_path / "out/all.jsonl")
    edit(tmp_path, 3, 11, 20)
    summary = run_job()
    assert (summary.outcomes, sent(tmp_path), accepted(tmp_path / "api")) == ({"succeeded": 20}, 23, 4)
    after = records(tmp_path / "out/all.jsonl")
    changed = [one["key"] for one, two in zip(after, before, strict=True) if one["output"] != two["output"]]
    assert set(changed) <= {"r3", "r11", "r20"}
    assert [one["batch_id"] is None for one in after].count(False) == 3
    assert [one["row"]["text"] for one in after if one["key"] == "r11"] == ["other text 11"]


def test_edited_prompt_sends_all_requests(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    run_job()
    write_job(tmp_path, prompt=PROMPT)
    assert (run_job().outcomes, sent(tmp_path)) == ({"succeeded": 20}, 40)


def test_without_reuse_everything_is_sent_again(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    run_job()
    edit(tmp_path, 1)
    path = write_job(tmp_path, reuse=False)
    assert load_spec(path).reuse is False
    assert (run_job(new=True).outcomes, sent(tmp_path)) == ({"succeeded": 20}, 40)


def test_answer_of_another_spec_is_reused(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    run_job()
    write_job(tmp_path, name="other")
    assert (run_job().outcomes, sent(tmp_path)) == ({"succeeded": 20}, 20)


def test_answer_with_other_betas_is_not_reused(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    run_job()
    write_job(tmp_path, betas=["output-300k-2026-03-24"])
    assert (run_job().outcomes, sent(tmp_path)) == ({"succeeded": 20}, 40)


def test_new_run_sends_only_failed_rows(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, retry={"attempts": 1})
    fails: Any = lambda id: "errored" if id.endswith(("-4", "-9")) else "succeeded"  # noqa: E731
    assert run_job(mix=fails).outcomes == {"succeeded": 18, "errored": 2}
    assert (run_job(new=True).outcomes, sent(tmp_path)) == ({"succeeded": 20}, 22)


def test_reused_answer_can_be_reused_again(
    tmp_path: Path, run_job: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = run_job()
    run_job(new=True)
    purge_run(next(run for run in find_purgeable() if run.summary.run == first.run))
    assert (run_job(new=True).outcomes, sent(tmp_path)) == ({"succeeded": 20}, 20)


def test_damaged_answer_is_not_reused(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    first = run_job()
    for path in (tmp_path / ".runner/runs" / first.run / "results").glob("1-1.jsonl"):
        path.write_bytes(path.read_bytes().replace(b'"type"', b'"typ_"'))
    assert (run_job(new=True).outcomes, sent(tmp_path)) == ({"succeeded": 20}, 28)


def twins(root: Path, **changes: Any) -> None:
    """Ten rows, of which every second one says what the one before it says."""
    write_job(root, **changes)
    lines = [f"r{number},text number {(number + 1) // 2}\n" for number in range(1, 11)]
    (root / "rows.csv").write_text("id,text\n" + "".join(lines))


def test_identical_requests_are_sent_once(
    tmp_path: Path, run_job: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch
) -> None:
    twins(tmp_path)
    summary = run_job()
    assert (summary.outcomes, sent(tmp_path)) == ({"succeeded": 10}, 5)
    found = records(tmp_path / "out/all.jsonl")
    assert [one["key"] for one in found] == [f"r{number}" for number in range(1, 11)]
    assert all(found[index]["output"] == found[index + 1]["output"] for index in range(0, 10, 2))
    monkeypatch.chdir(tmp_path)
    assert diagnose_state().findings == []


def test_duplicate_rows_share_the_outcome(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    twins(tmp_path, retry={"attempts": 2}, batch={**SPEC["batch"], "max_requests": 2})
    once: Any = lambda id: "errored" if id.endswith(("-1-1-1", "-3")) else "succeeded"  # noqa: E731
    summary = run_job(mix=once)
    assert summary.outcomes == {"succeeded": 8, "errored": 2}
    outcomes = [one["outcome"] for one in records(tmp_path / "out/all.jsonl")]
    assert outcomes == ["succeeded"] * 2 + ["errored"] * 2 + ["succeeded"] * 6
    assert paid(tmp_path / "api")[("2", 3)] == 1


def test_identical_requests_are_sent_one_by_one_without_reuse(
    tmp_path: Path, run_job: Callable[..., Summary]
) -> None:
    twins(tmp_path, reuse=False)
    assert (run_job().outcomes, sent(tmp_path)) == ({"succeeded": 10}, 10)
