"""A pilot sends a sample first, says what the whole will cost, and is not paid twice."""

import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from runner.lifecycle.maintain.run_pilot import run_pilot
from runner.lifecycle.run_options import RunOptions
from runner.sources.input_files import Inputs
from runner.sources.pilot_sample import draw_pilot
from runner.spec.load import load_spec
from runner.spec.spec import Pilot
from tests.support.outputs import records
from tests.support.processes import RUN, RUN_SIMULATED, command
from tests.support.projects import SPEC, write_job
from tests.support.simulator import accepted, bill, environ_without_key, paid, simulator

PILOT = ("pilot", "job.yaml", "10", "--yes")
KEYS = environ_without_key()
JOBS = int(os.environ.get("PILOT_JOBS", "5"))


def keys(path: Path) -> list[str]:
    return [str(record["key"]) for record in records(path)]


def test_pilot_and_run_send_each_row_once(tmp_path: Path) -> None:
    write_job(tmp_path, rows=200, batch={**SPEC["batch"], "max_requests": 100})
    with simulator(tmp_path / "api") as environ:
        shown = command(tmp_path, environ, *PILOT)
        assert (shown.returncode, sum(paid(tmp_path / "api").values())) == (0, 10)
        assert len(keys(tmp_path / "out/all.pilot.jsonl")) == 10
        assert not (tmp_path / "out/all.jsonl").exists()
        ended = command(tmp_path, environ, *RUN)
    assert (ended.returncode, "190 to send" in ended.stderr) == (0, True)
    assert "10 reused" in ended.stderr
    results = [line for path in (tmp_path / "api").glob("msgbatch_*.jsonl") for line in records(path)]
    assert len(results) == 200
    assert len(keys(tmp_path / "out/all.jsonl")) == 200


def test_pilot_of_fifty_and_run_of_a_thousand_send_1000(tmp_path: Path) -> None:
    write_job(tmp_path, rows=1000, batch={**SPEC["batch"], "max_requests": 500})
    for words in (("pilot", "job.yaml", "--simulate"), RUN_SIMULATED):
        assert command(tmp_path, KEYS, *words).returncode == 0
    requests = [
        run["batches"] for run in map(json.loads, command(tmp_path, KEYS, "status", "--json").stdout.splitlines())
    ]
    assert sum(batch["requests"] for batches in requests for batch in batches) == 1000


def test_sample_is_random_repeatable_and_in_order(tmp_path: Path) -> None:
    rows = [("rows.csv", line, {"id": line}) for line in range(1000)]

    def draw(seed: int) -> list[int]:
        return [line for _, line, _ in draw_pilot(iter(rows), Pilot(50, seed), Inputs(tmp_path))]

    assert draw(1) == draw(1) == sorted(draw(1)) != draw(2)
    assert len(set(draw(1))) == 50
    assert {*draw(1)} < {line for _, line, _ in draw_pilot(iter(rows), Pilot(90, 1), Inputs(tmp_path))}
    counts = Counter(line // 100 for seed in range(200) for line in draw(seed))
    assert min(counts.values()) > 800 and len(counts) == 10


def test_each_value_has_its_share_of_the_sample(tmp_path: Path) -> None:
    values = ["a"] * 700 + ["b"] * 200 + ["c"] * 100
    random.Random(1).shuffle(values)
    rows = [("rows.csv", line, {"kind": kind}) for line, kind in enumerate(values)]
    inputs = Inputs(tmp_path)
    drawn = draw_pilot(iter(rows), Pilot(50, 0, "kind"), inputs)
    assert Counter(fields["kind"] for _, _, fields in drawn) == {"a": 35, "b": 10, "c": 5}
    assert inputs.selected_rows == 1000


def test_pilot_of_more_rows_than_there_are_takes_all(tmp_path: Path) -> None:
    write_job(tmp_path, rows=5)
    ended = command(tmp_path, KEYS, "pilot", "job.yaml", "--simulate")
    assert (ended.returncode, len(keys(tmp_path / "simulated/out/all.pilot.jsonl"))) == (0, 5)


def test_unknown_column_of_a_pilot_is_named(tmp_path: Path) -> None:
    write_job(tmp_path)
    ended = command(tmp_path, KEYS, "pilot", "job.yaml", "--by", "txt", "--simulate")
    assert (ended.returncode, "no column 'txt' for --by: did you mean 'text'?" in ended.stderr) == (2, True)


def is_bill_in_interval(root: Path, seed: int) -> bool:
    """Run a pilot of a job whose rows and answers are of very different lengths, and then the job."""
    chance = random.Random(seed)
    write_job(root, rows=300, params={"model": "claude-haiku-5-5", "max_tokens": 100}, retry={"attempts": 1})
    lines = [f"r{row},{row} {'word ' * int(chance.lognormvariate(3, 1))}\n" for row in range(300)]
    (root / "rows.csv").write_text("id,text\n" + "".join(lines))
    with simulator(root / "api") as environ, pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for name in ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"):
            patch.setenv(name, environ[name])
        found = run_pilot(load_spec("job.yaml"), Pilot(50, seed), RunOptions(), consent=True)
        assert found.cost is not None and found.selected_rows == 300
        assert command(root, environ, *RUN).returncode == 0
    return found.cost.low <= bill(root / "api") <= found.cost.high


def test_interval_of_the_cost_holds_the_bill(tmp_path: Path) -> None:
    held = sum(is_bill_in_interval(tmp_path / str(seed), seed) for seed in range(JOBS))
    assert held >= 0.95 * JOBS


def test_interrupted_pilot_is_finished_before_the_run(tmp_path: Path) -> None:
    write_job(tmp_path, rows=50)
    with simulator(tmp_path / "api", seconds=1) as environ:
        assert command(tmp_path, environ, *PILOT, "--no-wait").returncode == 4
        ended = command(tmp_path, environ, *RUN)
    assert ended.returncode == 0
    results = [line for path in (tmp_path / "api").glob("msgbatch_*.jsonl") for line in records(path)]
    assert len(results) == 50
    assert (len(keys(tmp_path / "out/all.pilot.jsonl")), len(keys(tmp_path / "out/all.jsonl"))) == (10, 50)


def test_pilot_beside_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api", seconds=60) as environ:
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
        ended = command(tmp_path, environ, *PILOT)
    assert (ended.returncode, "finish only it with `runner run job.yaml --resume`" in ended.stderr) == (2, True)


def test_pilot_compares_with_the_last_run(tmp_path: Path) -> None:
    write_job(tmp_path, rows=40)
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
        write_job(tmp_path, rows=40, prompt={"system": "Label it anew.", "user": "{{ text }}"})
        ended = command(tmp_path, environ, *PILOT)
        complete = keys(tmp_path / "out/all.jsonl")
    assert (ended.returncode, len(complete)) == (0, 40)
    assert " of 10 rows differ from run " in ended.stdout and "runner diff" in ended.stdout


def test_pilot_writes_no_table(tmp_path: Path) -> None:
    table = {"type": "sql", "path": "out.db", "table": "labels"}
    write_job(tmp_path, sinks=[table, {"type": "csv", "path": "out/labels.csv.gz"}])
    assert command(tmp_path, KEYS, "pilot", "job.yaml", "3", "--simulate").returncode == 0
    assert [path.name for path in (tmp_path / "simulated/out").iterdir()] == ["labels.pilot.csv.gz"]
    assert not list(tmp_path.rglob("out.db"))


def test_missed_threshold_of_a_pilot_is_exit_code_3(tmp_path: Path) -> None:
    evaluate = [{"name": "label", "expected": "'never'", "actual": "output.label", "min_accuracy": 0.9}]
    write_job(tmp_path, evaluate=evaluate)
    ended = command(tmp_path, KEYS, "pilot", "job.yaml", "10", "--simulate")
    assert (ended.returncode, "below 90 %" in ended.stdout) == (3, True)


def test_pilot_as_json_is_one_object(tmp_path: Path) -> None:
    write_job(tmp_path)
    ended = command(tmp_path, KEYS, "pilot", "job.yaml", "10", "--simulate", "--sync", "--json")
    shown: dict[str, Any] = json.loads(ended.stdout)
    assert set(shown) == {"summary", "selected_rows", "cost", "diff", "values"}
    assert (shown["summary"]["is_pilot"], shown["selected_rows"]) == (True, 20)
    assert set(shown["cost"]) == {"expected", "low", "high", "with_cache"}
    assert shown["summary"]["batches"][0]["mode"] == "sync"


def test_pilot_is_not_retried(tmp_path: Path) -> None:
    write_job(tmp_path, retry={"attempts": 1})
    with simulator(tmp_path / "api", mix=lambda _: "invalid") as environ:
        ended = command(tmp_path, environ, *PILOT)
        run = json.loads(command(tmp_path, environ, "status", "--json").stdout)["run"]
        named, by_spec = (command(tmp_path, environ, "retry", target, "--yes") for target in (run, "job.yaml"))
    assert (ended.returncode, named.returncode, by_spec.returncode) == (3, 2, 2)
    assert "retry" not in ended.stdout and "is a pilot" in named.stderr
    assert accepted(tmp_path / "api") == 2


@pytest.mark.parametrize("words", [("run", "job.yaml", "--yes"), ("run", "job.yaml", "other.yaml", "--yes")])
def test_run_begins_with_the_pilot_of_its_spec(tmp_path: Path, words: tuple[str, ...]) -> None:
    write_job(tmp_path, name="other", sinks=[{"type": "jsonl", "path": "out/other.jsonl"}], rows=50)
    (tmp_path / "job.yaml").rename(tmp_path / "other.yaml")
    write_job(tmp_path, rows=50, pilot=10, prompt={"system": "Label it.", "user": "{{ text }}"})
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, *words)
        assert (ended.returncode, len(keys(tmp_path / "out/all.jsonl"))) == (0, 50)
        again = command(tmp_path, environ, *RUN)
    results = [line for path in (tmp_path / "api").glob("msgbatch_*.jsonl") for line in records(path)]
    assert len(results) == 50 * (len(words) - 2)
    assert len(keys(tmp_path / "out/all.pilot.jsonl")) == 10
    assert "the pilot is good enough: 10 of 10 rows succeeded" in ended.stderr
    assert (again.returncode, "nothing was sent" in again.stderr) == (0, True)


@pytest.mark.parametrize("max_failed", [0.1, 0.5])
def test_bad_pilot_stops_the_run(tmp_path: Path, max_failed: float) -> None:
    pilot = {"rows": 10, "max_failed": max_failed}
    write_job(tmp_path, rows=50, pilot=pilot, retry={"attempts": 1})
    with simulator(tmp_path / "api", mix=lambda id: "refused" if int(id[-1]) < 3 else "succeeded") as environ:
        ended = command(tmp_path, environ, *RUN)
        again = command(tmp_path, environ, *RUN)
        sent = sum(paid(tmp_path / "api").values())
        skipped = command(tmp_path, environ, *RUN, "--skip-pilot")
    is_stopped = max_failed < 0.3
    assert (ended.returncode, again.returncode, skipped.returncode) == (3, 3, 3)
    assert ("is not good enough: 3 of 10 rows failed" in ended.stderr) == is_stopped
    assert (sent < 50) == is_stopped
    assert len(keys(tmp_path / "out/all.jsonl")) == 50


def test_missed_score_of_a_pilot_stops_the_run(tmp_path: Path) -> None:
    evaluate = [{"name": "label", "expected": "'never'", "actual": "output.label", "min_accuracy": 0.9}]
    write_job(tmp_path, rows=50, pilot=10, evaluate=evaluate)
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, *RUN)
    assert (ended.returncode, accepted(tmp_path / "api")) == (3, 2)
    assert "is not good enough: label 0.0%, below 90%" in ended.stderr
    run = json.loads(command(tmp_path, {}, "status", "--json").stdout)["run"]
    assert f"`runner show {run} --wrong` shows the rows" in ended.stderr
    assert f"  wrong   runner show {run} --wrong\n" in ended.stdout
    assert "10 rows, 10 succeeded" in ended.stdout


def test_interrupted_pilot_of_a_spec_goes_on(tmp_path: Path) -> None:
    write_job(tmp_path, rows=50, pilot=10)
    with simulator(tmp_path / "api", seconds=1) as environ:
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
        ended = command(tmp_path, environ, *RUN)
    results = [line for path in (tmp_path / "api").glob("msgbatch_*.jsonl") for line in records(path)]
    assert (ended.returncode, len(results), len(keys(tmp_path / "out/all.jsonl"))) == (0, 50, 50)


def test_braked_pilot_names_the_pilot_command(tmp_path: Path) -> None:
    write_job(tmp_path, rows=60)
    with simulator(tmp_path / "api", mix=lambda _: "invalid") as environ:
        ended = command(tmp_path, environ, "pilot", "job.yaml", "30", "--yes")
    assert (ended.returncode, "run `runner pilot` again" in ended.stderr) == (3, True)
    assert "runner retry" not in ended.stderr


def test_mistake_of_the_whole_job_is_found_before_its_pilot(tmp_path: Path) -> None:
    write_job(tmp_path, sinks=[{"type": "sql", "path": "out.db", "table": "t", "columns": {"id": "kye"}}])
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, *PILOT)
    assert (ended.returncode, "'kye' is undefined" in ended.stderr, accepted(tmp_path / "api")) == (2, True, 0)


def test_reasons_after_a_pilot_are_those_since_the_last_run(tmp_path: Path) -> None:
    write_job(tmp_path, rows=40)
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
        write_job(tmp_path, rows=40, prompt={"system": "Label it anew.", "user": "{{ text }}"})
        assert command(tmp_path, environ, *PILOT).returncode == 0
        planned = command(tmp_path, environ, "plan", "job.yaml").stdout
    assert "30 (" in planned and "because the prompt has changed" in planned


def test_cost_of_all_rows_is_also_that_with_a_warm_cache(tmp_path: Path) -> None:
    rules = "The rules of labelling, line after line. " * 2_200
    write_job(tmp_path, rows=100, prompt={"system": rules, "user": "{{ text }}"})
    ended = command(tmp_path, KEYS, "pilot", "job.yaml", "10", "--simulate", "--json")
    cost = json.loads(ended.stdout)["cost"]
    assert 0 < cost["with_cache"] < 0.3 * cost["low"]


def test_purged_pilot_is_not_sent_again(tmp_path: Path) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *PILOT).returncode == 0
        assert command(tmp_path, environ, "purge", "job.yaml", "--yes").returncode == 0
        ended = command(tmp_path, environ, *PILOT)
    assert (ended.returncode, "were purged since" in ended.stderr) == (0, True)
    assert sum(paid(tmp_path / "api").values()) == 10


def test_pilot_of_one_row_does_not_say_what_all_cost(tmp_path: Path) -> None:
    write_job(tmp_path)
    ended = command(tmp_path, KEYS, "pilot", "job.yaml", "1", "--simulate")
    assert (ended.returncode, "20 rows: cost unknown" in ended.stdout) == (0, True)


def test_job_with_a_pilot_alone_has_nothing_to_retry(tmp_path: Path) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *PILOT).returncode == 0
        ended = command(tmp_path, environ, "retry", "job.yaml", "--yes")
    assert (ended.returncode, "has no real run to retry; `runner status`" in ended.stderr) == (2, True)


def test_status_names_the_command_that_goes_on(tmp_path: Path) -> None:
    write_job(tmp_path)
    words = ("pilot", "job.yaml", "10", "--by", "text", "--seed", "3")
    with simulator(tmp_path / "api", seconds=1) as environ:
        assert command(tmp_path, environ, *words, "--yes", "--no-wait").returncode == 4
        shown = command(tmp_path, environ, "status").stdout
        resumed = command(tmp_path, environ, *words)
    assert f"  resume with: runner {' '.join(words)}\n" in shown
    assert (resumed.returncode, sum(paid(tmp_path / "api").values())) == (0, 10)


@pytest.mark.parametrize(("most", "code"), [(19, 2), (20, 0)])
def test_pilot_of_a_job_with_too_many_rows_is_refused(tmp_path: Path, most: int, code: int) -> None:
    write_job(tmp_path, limits={"max_rows": most})
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, *PILOT)
    assert (ended.returncode, accepted(tmp_path / "api") == 0) == (code, code == 2)
    assert ("the job of this pilot has 20 rows, so it would not run" in ended.stderr) == (code == 2)


def test_pilot_shows_how_many_rows_each_value_has(tmp_path: Path) -> None:
    write_job(tmp_path)
    kinds = ["bug"] * 12 + ["billing"] * 6 + [""] * 2
    lines = [f"r{row},text {row},{kind}\n" for row, kind in enumerate(kinds)]
    (tmp_path / "rows.csv").write_text("id,text,kind\n" + "".join(lines))
    words = ("pilot", "job.yaml", "10", "--simulate", "--by")
    few, many = (command(tmp_path, KEYS, *words, column).stdout for column in ("kind", "id"))
    assert "  by      6 bug, 3 billing, 1 (empty)\n" in few
    assert ", 2 of 2 other values\n" in many
    shown = json.loads(command(tmp_path, KEYS, *words, "kind", "--json").stdout)
    assert shown["values"] == {"bug": 6, "billing": 3, "": 1}


@pytest.mark.parametrize(("rows", "way"), [(40, "sync"), (200, "batch")])
def test_cost_of_all_rows_is_that_of_the_way_auto_takes(tmp_path: Path, rows: int, way: str) -> None:
    costs = {}
    for mode in ("auto", way):
        write_job(tmp_path / mode, rows=rows, mode=mode)
        ended = command(tmp_path / mode, KEYS, "pilot", "job.yaml", "10", "--simulate", "--json")
        costs[mode] = json.loads(ended.stdout)["cost"]["expected"]
    assert costs["auto"] == costs[way] > 0


def test_rows_outside_a_smaller_pilot_are_not_called_changed(tmp_path: Path) -> None:
    write_job(tmp_path, rows=60)
    assert command(tmp_path, KEYS, "pilot", "job.yaml", "10", "--simulate").returncode == 0
    planned = command(tmp_path, KEYS, "plan", "job.yaml", "--simulate").stdout
    assert "  50 to send" in planned
    assert "because they were not in the pilot" in planned
