"""An unfinished run whose spec or files have changed: finished first, or abandoned for a new one."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from runner import Summary
from runner.errors import InputError, UsageError
from tests.support.outputs import output_keys, records
from tests.support.processes import command
from tests.support.projects import SPEC, write_job
from tests.support.simulator import accepted, end_batches, environ_without_key, paid, simulator
from tests.support.terminals import Terminal

CRON = ("run", "job.yaml", "--yes", "--no-wait")


def test_cron_line_answers_every_row_of_a_growing_file_once(tmp_path: Path) -> None:
    codes = []
    for minute in range(1, 11):
        write_job(tmp_path, rows=min(5 * minute, 35))  # it grows while runs are unfinished, and then no longer
        with simulator(tmp_path / "api", seconds=600) as environ:
            codes.append(command(tmp_path, environ, *CRON).returncode)
        if minute % 2 == 0:
            end_batches(tmp_path / "api")
    assert codes == [4, 4, 4, 4, 4, 4, 4, 4, 0, 0]
    assert output_keys(tmp_path, "all") == [f"r{number}" for number in range(1, 36)]
    assert sum(paid(tmp_path / "api").values()) == 35


def test_pending_run_is_finished_and_new_rows_are_sent(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    first = run_job(wait=False)
    write_job(tmp_path, rows=25)
    second = run_job(pending="finish")
    assert (second.run != first.run, second.state, second.rows) == (True, "finished", 25)
    assert sum(batch["requests"] for batch in second.batches) == 5
    assert accepted(tmp_path / "api") == 4


@pytest.mark.parametrize("others", [(), ("other.yaml",)])
def test_changes_are_run_though_the_brake_stops_the_old_run(tmp_path: Path, others: tuple[str, ...]) -> None:
    bad, good = ({**SPEC["output"], "checks": [{"check": f"score is {kind}"}]} for kind in ("string", "number"))
    sinks = [{"type": "jsonl", "path": "out/other.jsonl"}]
    write_job(tmp_path, name="other", sinks=sinks).rename(tmp_path / "other.yaml")
    write_job(tmp_path, output=bad)
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *CRON).returncode == 4
        write_job(tmp_path, output=good, rows=21)
        ended = command(tmp_path, environ, *CRON[:-1], *others)
    assert "20 of the 20 rows of that round failed for the same reason" in ended.stderr
    assert "A new run starts on the changes" in ended.stderr
    assert (ended.returncode, "job: 21 rows, 21 succeeded" in ended.stdout) == (0, True)


def test_simulated_pending_run_is_finished_without_a_question(tmp_path: Path) -> None:
    write_job(tmp_path)
    environ, words = environ_without_key(), ("run", "job.yaml", "--simulate")
    assert command(tmp_path, environ, *words, "--no-wait").returncode == 4
    write_job(tmp_path, rows=21)
    with Terminal(tmp_path, environ) as terminal:
        terminal.start(*words)
        assert terminal.end() == 0
        assert ("or stop?" in terminal.words(), "job: 21 rows, 21 succeeded" in terminal.words()) == (False, True)


def test_pending_run_that_is_not_finished_yet_is_waited_for(
    tmp_path: Path, run_job: Callable[..., Summary]
) -> None:
    first = run_job(wait=False, seconds=600)
    write_job(tmp_path, rows=25)
    second = run_job(pending="finish", wait=False, seconds=600)
    assert (second.run, second.state, accepted(tmp_path / "api")) == (first.run, "running", 3)


def test_an_unchanged_pending_run_is_only_finished(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    first = run_job(wait=False)
    assert (run_job(pending="finish").run, accepted(tmp_path / "api")) == (first.run, 3)


def test_pending_new_abandons_the_unfinished_run(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    first = run_job(wait=False)
    write_job(tmp_path, params={**SPEC["params"], "max_tokens": 200})
    second = run_job(pending="new")
    assert (second.run != first.run, second.state, accepted(tmp_path / "api")) == (True, "finished", 6)


def test_pending_run_is_finished_before_a_mistake_is_reported(
    tmp_path: Path, run_job: Callable[..., Summary]
) -> None:
    run_job(wait=False)
    (tmp_path / "rows.csv").write_text("id,text\nr1,one,too many\n")
    with pytest.raises(InputError, match=r"rows\.csv"):
        run_job(pending="finish")
    assert len(records(tmp_path / "out" / "all.jsonl")) == 20
    with pytest.raises(InputError, match=r"rows\.csv"):
        run_job(pending="finish")


def test_a_person_is_asked_by_default_from_python(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    first = run_job(wait=False)
    write_job(tmp_path, rows=21)
    with pytest.raises(UsageError, match="--pending finish"):
        run_job()
    with pytest.raises(UsageError, match="declined"):
        run_job(pending=lambda pending: (_ for _ in ()).throw(UsageError(f"declined {pending.run}")))
    assert run_job(resume=True).run == first.run


def test_unattended_commands_finish_the_pending_run_first(tmp_path: Path) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api", seconds=1) as environ:
        assert command(tmp_path, environ, *CRON).returncode == 4
        write_job(tmp_path, rows=22)
        assert command(tmp_path, environ, *CRON[:-1], "--pending", "ask").returncode == 2
        assert command(tmp_path, environ, *CRON, "--pending", "new", "--resume").returncode == 2
        ended = command(tmp_path, environ, *CRON[:-1], "--json")
    assert (ended.returncode, json.loads(ended.stdout)["rows"]) == (0, 22)
    assert "is finished as it began; then a new run starts on the changes" in ended.stderr
