"""A results file that is read elsewhere, in parts."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from runner import load_spec, run
from runner.lifecycle.deliver.read_elsewhere import (
    check_elsewhere,
    pickle_rules,
    read_part,
    read_results_elsewhere,
)
from runner.lifecycle.deliver.read_results import BatchResults, Rules, read_results
from runner.pricing.rates import rate_for_spec
from runner.results.output_format import build_output_format
from runner.spec.spec import Check, Output
from runner.workers.run_tasks import WorkerPool
from runner.workers.tasks import Stop
from tests.support.outputs import error_line, message_line
from tests.support.projects import write_job

LONG = "x" * 300_000
"""A text of which four fill a part of a results file."""


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    with ThreadPoolExecutor(2) as threads:
        yield WorkerPool(threads, Stop(bool, "stopped"))


def result(row: int, line: bytes, prefix: str = "r-1-1-") -> bytes:
    return json.dumps({**json.loads(line), "custom_id": f"{prefix}{row}"}).encode() + b"\n"


def read_both(
    tmp_path: Path, pool: WorkerPool, lines: Sequence[bytes], rules: Rules | None = None
) -> tuple[BatchResults | None, BatchResults]:
    """The results as parts make them, and as one process does."""
    path, rules, expected = tmp_path / "results.jsonl", rules or Rules("r-1-1-"), set(range(1, 21))
    path.write_bytes(b"".join(lines))
    parts = read_results_elsewhere(path, pickle_rules(rules, Output()), pool, expected=expected)
    return parts, read_results(path, rules, build_output_format(Output()), expected=expected)


def test_parts_make_the_whole(tmp_path: Path, pool: WorkerPool) -> None:
    write_job(tmp_path)
    rules = Rules("r-1-1-", ("errored", "truncated"), rate_for_spec(load_spec(tmp_path / "job.yaml")))
    lines = [
        *(result(row, message_line(f"{LONG} \u2028 {row}", usage={"input_tokens": row, "output_tokens": 7}))
          for row in range(9, 0, -1)),
        b"\n", b"{\n",
        result(10, error_line("overloaded_error", LONG)),
        result(11, error_line("no_answer")),
        result(12, message_line("cut", stop_reason="max_tokens")),
        result(13, message_line(LONG, usage={"input_tokens": "many"})),
        result(14, message_line("of another run"), "s-1-1-"),
        result(15, message_line("the last line has no line feed")).rstrip(b"\n"),
    ]  # fmt: skip
    parts, whole = read_both(tmp_path, pool, lines, rules)
    assert parts == whole
    assert (len(whole.rows), whole.ignored_lines, whole.lost_rows) == (
        14, {"blank": 1, "malformed": 1, "foreign": 1}, {11},
    )  # fmt: skip
    assert len(whole.costs) > 9 and set(whole.unclear_costs) == {13}


@pytest.mark.parametrize("between", [0, 8])
def test_row_with_two_results_is_left_to_one_process(tmp_path: Path, pool: WorkerPool, between: int) -> None:
    lines = [result(row, message_line(LONG)) for row in range(2, 2 + between)]
    repeated = [result(1, error_line("api_error")), *lines, result(1, message_line("hi"))]
    parts, whole = read_both(tmp_path, pool, repeated)
    assert parts is None
    assert whole.rows[1][0] == "succeeded" and whole.ignored_lines == {"contradicting": 1}


def test_row_of_no_request_is_left_to_one_process(tmp_path: Path, pool: WorkerPool) -> None:
    parts, whole = read_both(tmp_path, pool, [result(21, message_line("hi")), result(1, message_line("hi"))])
    assert parts is None
    assert (set(whole.rows), whole.unknown_rows) == ({1}, {21})


def test_checks_see_the_row_and_its_answer(pool: WorkerPool) -> None:
    job = pickle_rules(Rules("r-1-1-"), Output(checks=(Check("output == row.text", "not the text"),)))
    fields, answers = b'{"key":1,"row":{"text":"yes"}}', (message_line("no"), message_line("yes"))
    rows = [(row, fields, answers[row % 3 > 0]) for row in range(1200)]
    found = list(check_elsewhere(iter([*rows, (1200, b"{", answers[1])]), job, pool))
    names = ["succeeded" if row % 3 else "invalid" for row in range(1200)]
    assert [(row, outcome) for row, _, outcome in found] == [*enumerate(names), (1200, None)]


def test_stop_while_results_are_read_is_no_error(tmp_path: Path) -> None:
    answer = {"type": "string", "minLength": 4_500}
    schema = {"type": "object", "properties": {"a": answer}, "required": ["a"], "additionalProperties": False}
    batch = {"max_requests": 1_000, "poll_seconds": 0.05}
    job = write_job(tmp_path, rows=1_000, output={"schema": schema}, batch=batch)
    stop = Event()

    class Stopping(ThreadPoolExecutor):
        def submit(self, fn: Any, /, *args: Any, **named: Any) -> Any:
            if args[0] is read_part:
                stop.set()
                return Future[Any]()
            return super().submit(fn, *args, **named)

    with Stopping(1) as pool:
        stopped = run(job, simulate=True, jobs=pool, stop=stop)
    assert stop.is_set() and stopped.state != "finished"
    assert run(job, simulate=True).outcomes == {"succeeded": 1_000}
