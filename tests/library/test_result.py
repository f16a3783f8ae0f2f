"""The result of a run from Python: its records, and tables of them."""

import asyncio
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import runner
from runner import Result, RunEvent, RunnerError, Summary, UsageError, load_spec, run
from tests.support import ROOT
from tests.support.projects import SPEC

ROWS = [{"id": number, "text": f"text {number}", "score": "low"} for number in range(1, 11)]
JOB = {name: SPEC[name] for name in ("name", "prompt", "params", "output")} | {"source": {"key": "id"}}


@pytest.fixture
def result(tmp_path: Path) -> Result:
    odd = {"check": "row.id != 3", "message": "three is not judged"}
    spec = {**JOB, "output": {**SPEC["output"], "checks": [odd]}, "retry": {"attempts": 1}}
    return run(load_spec(spec, root=tmp_path), rows=ROWS, simulate=True)


def test_result_is_a_summary_with_records(result: Result) -> None:
    assert isinstance(result, Summary)
    assert (len(result), result.outcomes) == (10, {"succeeded": 9, "invalid": 1})
    records = list(result)
    assert records == list(result)
    assert records[0]["output"]["label"] in ("good", "bad")
    assert {"key", "row", "outcome", "reason", "output", "error", "usage"} < records[0].keys()


def test_failed_rows_have_their_reason(result: Result) -> None:
    assert len(result.failed) == 1
    [record] = result.failed
    assert (record["key"], record["outcome"]) == (3, "invalid")
    assert "three is not judged" in record["reason"]
    assert result.cost["actual"] is not None


def test_tables_have_the_columns_of_rows_and_outputs(result: Result) -> None:
    table = result.to_arrow()
    assert table.column_names == ["id", "text", "score", "outcome", "reason", "label", "output.score"]
    frame = result.to_pandas()
    assert list(frame["id"]) == list(range(1, 11))
    assert set(frame[frame.outcome == "succeeded"]["label"]) <= {"good", "bad"}


WITHOUT_PACKAGES = f"""\
import importlib.util

find, missing = importlib.util.find_spec, {{"fsspec"}}
importlib.util.find_spec = lambda name, *rest: None if name in missing else find(name, *rest)

from runner import load_spec, run

result = run(load_spec({JOB!r}), rows=[{ROWS[0]!r}], simulate=True)
for package in ("pandas", "pyarrow", "fsspec"):
    missing.add(package)
    try:
        print(len(result.to_pandas()))
    except Exception as error:
        print(type(error).__name__, error)
    missing.remove(package)
"""


def test_only_a_package_that_a_table_needs_is_missed(tmp_path: Path) -> None:
    words = [sys.executable, "-c", WITHOUT_PACKAGES]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    pandas, pyarrow, fsspec = done.stdout.splitlines()
    assert pandas.startswith("UsageError pandas is not installed: pip install")
    assert pyarrow.startswith("UsageError pyarrow is not installed: pip install")
    assert fsspec == "1"


def test_purged_run_has_no_records(result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from runner.lifecycle.maintain.purge import find_purgeable, purge_run

    monkeypatch.chdir(tmp_path)
    for found in find_purgeable(result.run, older_than=0):
        purge_run(found, remote=False)
    with pytest.raises(UsageError, match="were purged"):
        list(result)


def test_events_tell_the_progress_of_a_run(tmp_path: Path) -> None:
    events: list[RunEvent] = []
    run(load_spec(JOB, root=tmp_path), rows=ROWS, simulate=True, on_event=events.append)
    names = [event.name for event in events]
    assert [name for name in ("submitted", "ended", "collected", "finished") if name in names] == [
        "submitted",
        "ended",
        "collected",
        "finished",
    ]
    assert events[-1].summary.outcomes == {"succeeded": 10}


def test_run_in_an_event_loop_leaves_it_free(tmp_path: Path) -> None:
    async def main() -> tuple[Any, int]:
        spec, ticks = load_spec(JOB, root=tmp_path), 0
        task = asyncio.create_task(asyncio.to_thread(run, spec, rows=ROWS, simulate=True))
        while not task.done():
            ticks += 1
            await asyncio.sleep(0.02)
        return await task, ticks

    result, ticks = asyncio.run(main())
    assert result.outcomes == {"succeeded": 10} and ticks > 5


def test_event_stops_a_run_in_another_thread(tmp_path: Path) -> None:
    stop, spec = threading.Event(), load_spec({**JOB, "batch": {"max_requests": 1}}, root=tmp_path)

    async def main() -> Any:
        task = asyncio.create_task(asyncio.to_thread(run, spec, rows=ROWS, simulate=True, stop=stop))
        while not (tmp_path / "simulated" / ".runner" / "state.db").exists():
            await asyncio.sleep(0.01)
        stop.set()
        return await asyncio.gather(task, return_exceptions=True)

    [ended] = asyncio.run(main())
    assert isinstance(ended, RunnerError) or ended.state in ("running", "finished")
    assert (
        run(load_spec({**JOB, "batch": {"max_requests": 1}}, root=tmp_path), rows=ROWS, simulate=True).rows == 10
    )


def test_example_of_the_guide_runs_like_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (ROOT / "specs" / "README.md").read_text("utf-8").partition("## Use it from Python")[2]
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for cell in re.findall(r"```python\n(.*?)```", guide, re.DOTALL):
        exec(cell, names)  # noqa: S102 - the cells are our own text
    assert list(names["labels"].columns) == ["id", "text", "outcome", "reason", "label"]
    assert names["result"].outcomes == {"succeeded": 3}


def test_public_names_are_all_there() -> None:
    assert set(runner.__all__) <= set(dir(runner))
    assert all(getattr(runner, name) is not None for name in runner.__all__)
    errors = {name for name in vars(runner.errors) if isinstance(getattr(runner.errors, name), type)}
    assert errors - {"Sequence", "Callable"} <= set(runner.__all__)
