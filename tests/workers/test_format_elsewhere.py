"""Outputs whose rows are formatted elsewhere."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from runner import Summary, load_spec, run
from runner.errors import InputError, StateError
from runner.lifecycle.deliver.format_elsewhere import pickle_job
from tests.support.processes import command
from tests.support.projects import write_job
from tests.support.simulator import environ_without_key

COLUMNS = {"id": "key", "answer": "output", "why": "reason", "where": "[run, round, attempts, cost, batch_id]"}
SINKS = [
    {"type": "jsonl", "path": "out/whole.jsonl"},
    {"type": "jsonl", "path": "out/columns.jsonl.gz", "columns": COLUMNS},
    {"type": "csv", "path": "out/all.csv", "delimiter": ";"},
    {"type": "csv", "path": "out/failed.csv", "rows": "failed", "columns": {"text": "row.text", "id": "key"}},
]


def deliver(root: Path, **jobs: Any) -> Summary:
    """Write the outputs of the finished run in a folder again."""
    return run(root / "job.yaml", simulate=True, **jobs)


def outputs_of(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (root / "simulated/out").iterdir()}


CHECKS = [
    {"check": "row.text | length != 14", "message": "rows 10 to 99 are wrong"},
    {"check": "not row.id.endswith('55')", "message": "so are some others"},
]


@pytest.fixture
def finished(tmp_path: Path) -> Summary:
    """A run of 1,700 rows with failures of several kinds."""
    batch, output = {"max_requests": 700, "poll_seconds": 0.05}, {"checks": CHECKS}
    write_job(tmp_path, rows=1_700, sinks=SINKS, batch=batch, output=output, retry={"on": []})
    with (tmp_path / "rows.csv").open("a") as file:
        file.write("".join(f's{number},"=text number {number % 10};\n of ""many"""\n' for number in range(300)))
    return deliver(tmp_path)


def test_outputs_are_those_of_one_process(tmp_path: Path, finished: Summary) -> None:
    one = outputs_of(tmp_path)
    with ThreadPoolExecutor(2) as pool:
        again = deliver(tmp_path, jobs=pool)
    assert outputs_of(tmp_path) == one
    assert (again.sinks, again.failures) == (finished.sinks, finished.failures)
    assert [group.rows for group in again.failures or ()] == [90, 19] and len(one["all.csv"].splitlines()) > 2_000


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".xz", ".zst"])
def test_output_without_rows_is_that_of_one_process(tmp_path: Path, suffix: str) -> None:
    write_job(tmp_path, sinks=[{"type": "jsonl", "path": f"out/failed.jsonl{suffix}", "rows": "failed"}])
    deliver(tmp_path)
    one = outputs_of(tmp_path)
    with ThreadPoolExecutor(1) as pool:
        deliver(tmp_path, jobs=pool)
    assert outputs_of(tmp_path) == one


def test_processes_write_what_one_does(tmp_path: Path) -> None:
    write_job(tmp_path, rows=20_000, batch={"max_requests": 20_000, "poll_seconds": 0.05}, sinks=SINKS)
    printed = []
    for jobs in ("1", "2"):
        ended = command(tmp_path, environ_without_key(), "run", "job.yaml", "--simulate", "--json", "--jobs", jobs)
        printed.append((json.loads(ended.stdout), outputs_of(tmp_path)))
    assert printed[0][1] == printed[1][1]
    assert printed[0][0]["sinks"] == printed[1][0]["sinks"]


@pytest.mark.parametrize(
    "more",
    [
        {"evaluate": [{"name": "same", "expected": "row.text", "actual": "output"}]},
        {"sinks": [{"type": "jsonl", "path": "out/a.jsonl", "columns": {"sha": "prompt_sha256"}}]},
        {"sinks": [*SINKS, {"type": "jsonl", "path": "out/parts", "parts": True}]},
        {"sinks": [*SINKS, {"type": "sql", "path": "out/a.db", "table": "t"}]},
    ],
    ids=["evaluation", "digest", "parts", "table"],
)
def test_what_needs_all_rows_is_written_here(tmp_path: Path, more: dict[str, Any]) -> None:
    write_job(tmp_path, **more)
    tasks = []

    class Counting(ThreadPoolExecutor):
        def submit(self, fn: Any, /, *args: Any, **named: Any) -> Any:
            tasks.append(args[0].__name__)
            return super().submit(fn, *args, **named)

    with Counting(1) as pool:
        deliver(tmp_path, jobs=pool)
    assert set(tasks) == {"render_rows"}


def test_column_that_fails_is_an_error_of_its_row(tmp_path: Path) -> None:
    broken = {
        "type": "jsonl",
        "path": "out/broken.jsonl",
        "columns": {"n": "output and 1 // (row.text | length - 15)"},
    }
    write_job(tmp_path, rows=700, sinks=[broken, {"type": "csv", "path": "out/fine.csv"}])
    errors = []
    for jobs in (1, 2):
        with ThreadPoolExecutor(jobs) as pool, pytest.raises(InputError) as error:
            deliver(tmp_path, jobs=1 if jobs == 1 else pool)
        errors.append((str(error.value), outputs_of(tmp_path)))
    assert errors[0] == errors[1]
    assert "cannot write the row 'r100':" in errors[0][0] and set(errors[0][1]) == {"fine.csv"}


@pytest.mark.usefixtures("finished")
def test_damaged_rows_are_the_error_of_one_process(tmp_path: Path) -> None:
    [rows] = (tmp_path / "simulated/.runner/runs").glob("*/rows.jsonl")
    rows.write_bytes(rows.read_bytes().replace(b'{"key":"r1699"', b'{"key""r1699"'))
    errors = []
    with ThreadPoolExecutor(2) as pool:
        for jobs in (1, pool):
            with pytest.raises(StateError, match="are damaged") as error:
                deliver(tmp_path, jobs=jobs)
            errors.append(str(error.value))
    assert errors[0] == errors[1] and "differs" not in errors[0]


@pytest.mark.usefixtures("finished")
def test_changed_rows_are_an_error(tmp_path: Path) -> None:
    [rows] = (tmp_path / "simulated/.runner/runs").glob("*/rows.jsonl")
    rows.write_bytes(rows.read_bytes().replace(b"text number 7", b"text number 8", 1))
    with ThreadPoolExecutor(2) as pool, pytest.raises(StateError, match=r"rows\.jsonl differs"):
        deliver(tmp_path, jobs=pool)


def test_what_is_sent_to_format_rows_holds_no_secret(tmp_path: Path) -> None:
    write_job(
        tmp_path,
        source={"type": "csv", "path": "https://me:secret-1@host/rows.csv", "key": "id"},
        prompt={"user": "{{ id }} {{ text }}"},
        sinks=[{"type": "jsonl", "path": "s3://me:secret-2@bucket/out.jsonl", "columns": {"id": "key"}}],
        notify=[{"url": "https://hooks.example/secret-3", "on": ["finished"]}],
        labels={"team": "secret-4"},
    )
    job = pickle_job(load_spec(tmp_path / "job.yaml"), "run", None)
    assert b"secret" not in job
