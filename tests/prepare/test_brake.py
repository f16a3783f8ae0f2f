"""A round is not followed by another if most of its rows failed for the same lasting reason."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import Summary
from runner.errors import RetriesStopped
from runner.results.lasting_failure import is_lasting_failure
from runner.results.outcome import parse_result
from runner.results.output_format import build_output_format
from runner.spec.spec import Check, Output
from tests.support.outputs import COUNT_SCHEMA, error_line, message_line, records
from tests.support.processes import RUN, command
from tests.support.projects import EACH_ONCE, SCHEMA, write_job
from tests.support.simulator import accepted, paid, simulator

NEVER = {"check": "score is string", "message": "the score is no text"}
FAILING: dict[str, Any] = {"output": {"schema": SCHEMA, "checks": [NEVER]}}
CORRECTED: dict[str, Any] = {"output": {"schema": SCHEMA, "checks": [{**NEVER, "check": "score is number"}]}}


def first_round(kinds: Callable[[int], str]) -> Callable[[str], str]:
    """Pick outcomes by row in the first round; all later requests succeed."""

    def pick(custom_id: str) -> str:
        _, round, _, row = custom_id.split("-")
        return kinds(int(row)) if round == "1" else "succeeded"

    return pick


def test_failing_check_stops_the_rounds_and_is_named(tmp_path: Path) -> None:
    write_job(tmp_path, **FAILING)
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, *RUN)
        assert (ended.returncode, paid(tmp_path / "api")) == (3, EACH_ONCE)
        assert "stopped after round 1: 20 of the 20 rows of that round failed for the same reason" in ended.stderr
        assert "row 'r1', for example, is invalid: the score is no text" in ended.stderr
        assert len(records(tmp_path / "out/all.jsonl")) == 20
        write_job(tmp_path, **CORRECTED)
        assert (command(tmp_path, environ, *RUN).returncode, paid(tmp_path / "api")) == (0, EACH_ONCE)
    assert {one["outcome"] for one in records(tmp_path / "out/all.jsonl")} == {"succeeded"}


def test_rows_are_sent_as_they_are_with_the_brake_off(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, **FAILING)
    with pytest.raises(RetriesStopped):
        run_job()
    write_job(tmp_path, **FAILING, retry={"brake": "off", "attempts": 2})
    assert run_job().outcomes == {"invalid": 20}
    assert accepted(tmp_path / "api") == 3
    assert run_job(new=True).outcomes == {"invalid": 20}
    assert sum(paid(tmp_path / "api").values()) == 20 + 2 * 20


@pytest.mark.parametrize("words", [(), ("-q",), ("--json",)])
def test_stopped_run_prints_its_summary_by_reason(tmp_path: Path, words: tuple[str, ...]) -> None:
    write_job(tmp_path, rows=40)
    mix = lambda id: "invalid" if int(id.split("-")[3]) > 15 else "succeeded"  # noqa: E731
    with simulator(tmp_path / "api", mix=mix) as environ:
        ended = command(tmp_path, environ, *RUN, *words)
    assert (ended.returncode, "15 of all 40 rows succeeded." in ended.stderr) == (3, True)
    if "--json" in words:
        summary = json.loads(ended.stdout)
        assert [group["rows"] for group in summary["failures"]] == [25]
    else:
        assert ended.stdout.startswith("job: 40 rows, 15 succeeded, 25 invalid, in ")
        assert "  failed  25 rows  invalid: " in ended.stdout


def test_summary_of_one_stopped_run_of_several_is_printed(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(write_job(tmp_path, **FAILING, name="other").read_text())
    write_job(tmp_path, prompt={"user": "Label {{ text }}"})
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, "run", "job.yaml", "other.yaml", "--yes", "-q")
    assert (ended.returncode, "job: 20 rows, 20 succeeded" in ended.stdout) == (3, True)
    assert "other: 20 rows, 20 invalid" in ended.stdout


def test_stopped_run_is_finished_and_sends_no_more(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, **FAILING)
    run_job(wait=False)
    with pytest.raises(RetriesStopped):
        run_job()
    again = run_job()
    assert (again.state, again.exit_code, paid(tmp_path / "api")) == ("finished", 3, EACH_ONCE)


@pytest.mark.parametrize(
    ("kind", "rows", "brake", "is_stopped"),
    [
        ("invalid", 11, 0.5, True),
        ("invalid", 10, 0.5, False),
        ("invalid", 7, 0.3, True),
        ("invalid", 20, 1, False),
        ("invalid", 20, "off", False),
        ("empty", 19, 0.5, True),
        ("errored", 20, 0.5, False),
        ("overloaded", 20, 0.5, False),
        ("expired", 20, 0.5, False),
    ],
)
def test_share_and_kind_of_failures_decide(
    tmp_path: Path, run_job: Callable[..., Summary], kind: str, rows: int, brake: Any, is_stopped: bool
) -> None:
    write_job(tmp_path, retry={"brake": brake})
    mix = first_round(lambda row: kind if row <= rows else "succeeded")
    if is_stopped:
        with pytest.raises(RetriesStopped, match=f"{rows} of the 20 rows of that round failed"):
            run_job(mix=mix)
    else:
        assert run_job(mix=mix).outcomes == {"succeeded": 20}


@pytest.mark.parametrize("kind", ["truncated", "refused"])
def test_other_rows_are_not_retried_after_a_lasting_failure(
    tmp_path: Path, run_job: Callable[..., Summary], kind: str
) -> None:
    mix = first_round(lambda row: kind if row <= 19 else "errored")
    with pytest.raises(RetriesStopped, match=f"19 of the 20 rows of that round failed[^\0]*is {kind}: "):
        run_job(mix=mix)
    assert paid(tmp_path / "api") == EACH_ONCE


def test_round_of_few_rows_is_not_stopped(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=19)
    assert run_job(mix=first_round(lambda _: "invalid")).outcomes == {"succeeded": 19}


def test_different_reasons_do_not_add_up(run_job: Callable[..., Summary]) -> None:
    mix = first_round(lambda row: ("invalid", "truncated", "refused", "succeeded")[row % 4])
    assert run_job(mix=mix).outcomes == {"succeeded": 10, "truncated": 5, "refused": 5}


def group(line: bytes) -> str | None:
    checks = (Check("n > 0", "count: too small"), Check("n < 9", "count: too large"))
    output = build_output_format(Output(schema=LINES, checks=checks))
    found = parse_result(line, output, {})
    return found.reason if is_lasting_failure(found) else None


LINES = {"type": "object", "properties": {"n": {}, "lines": {"items": COUNT_SCHEMA}}}
SAME = [
    ('{"lines": [{"n": "x"}]}', '{"lines": [{"n": 1}, {"n": []}]}'),
    ('{"n": 0}', '{"n": -5}'),
    ("not json", "{"),
]


def test_reasons_are_the_same_despite_values_and_indexes() -> None:
    groups = [{group(message_line(one)) for one in pair} for pair in SAME]
    assert [len(found) for found in groups] == [1, 1, 1]
    assert len(set().union(*groups, {group(message_line('{"n": 10}'))})) == 4
    sizes = [
        error_line("invalid_request_error", f"prompt is too long: {size} tokens") for size in (201_000, 202_000)
    ]
    assert len({group(line) for line in sizes}) == 1
    assert group(error_line("overloaded_error", "Overloaded")) is None
