"""Runs are prepared whole, or not at all."""

from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from runner import Summary
from runner.errors import InputError
from tests.support.outputs import records
from tests.support.projects import SPEC, write_job
from tests.support.simulator import accepted


def test_run_stopped_during_prepare_is_discarded(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    stop = Event()
    stop.set()
    with pytest.raises(Exception, match="before anything of the new run was sent"):
        run_job(stop=stop)
    assert list((tmp_path / ".runner" / "runs").iterdir()) == []


def test_oversized_row_is_rejected_and_the_rest_are_sent(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, batch={**SPEC["batch"], "max_bytes": 2000})
    with (tmp_path / "rows.csv").open("a") as file:
        file.write(f"huge,{'x' * 3000}\nlast,text\n")
    summary = run_job()
    last = records(tmp_path / "out" / "all.jsonl")[-2]
    assert summary.outcomes == {"succeeded": 21, "rejected": 1}
    assert (last["key"], last["outcome"], last["custom_id"], last["batch_id"]) == ("huge", "rejected", None, None)
    assert "batch.max_bytes" in last["error"]["message"]


def test_duplicate_key_is_reported_with_both_places(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    with (tmp_path / "rows.csv").open("a") as file:
        file.write("r3,again\n")
    with pytest.raises(InputError) as caught:
        run_job()
    message = "duplicate key: id 'r3' is already used by rows.csv:4; keys must be unique"
    assert str(caught.value).startswith(f"rows.csv:22: {message}")
    assert accepted(tmp_path / "api") == 0


def test_bad_last_row_is_found_before_sending(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=500)
    with (tmp_path / "rows.csv").open("a") as file:
        file.write("r501\n")
    with pytest.raises(InputError, match=r"rows\.csv:502"):
        run_job()
    assert accepted(tmp_path / "api") == 0


def test_template_error_is_reported_with_its_row(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, prompt={"user": "{{ 1 // (text | length - 14) }}"})
    with pytest.raises(InputError, match=r"modulo by zero.*\(row 10, rows.csv:11\)"):
        run_job()
