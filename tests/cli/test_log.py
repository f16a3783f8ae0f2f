"""The log of a command on stderr: text, quiet, or one JSON object per line with the documented fields."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from runner.runs.events import EVENTS
from runner.simulator.responses import ErrorResponse
from tests.support import ROOT
from tests.support.processes import Ended, command
from tests.support.projects import write_job
from tests.support.simulator import environ_without_key, fail_at, simulator

JSON_LOG = ("--log-format", "json")
GUIDE = (ROOT / "specs/README.md").read_text("utf-8").partition("\n## Logs\n")[2]
FIELDS = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", GUIDE, re.MULTILINE)))


def read_log(done: Ended) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_json_log_has_the_documented_fields_in_every_line(tmp_path: Path) -> None:
    write_job(tmp_path)
    done = command(tmp_path, environ_without_key(), "run", "job.yaml", "--simulate", *JSON_LOG)
    log, [example] = read_log(done), re.findall(r"```json\n(.*?)\n```", GUIDE)
    assert all(list(line)[: len(FIELDS)] == list(json.loads(example)) for line in log)
    assert list(json.loads(example)) == FIELDS
    names = [line["event"] for line in log if line["event"] not in ("counting", "waiting")]
    assert names[:4] == ["read", "planned", "started", "submitted"] and names[-2:] == ["writing", "finished"]
    assert {name for name in names if name != "planned"} <= set(EVENTS)


def test_json_log_counts_batches_outcomes_and_cost(tmp_path: Path) -> None:
    write_job(tmp_path)
    log = read_log(command(tmp_path, environ_without_key(), "run", "job.yaml", "--simulate", *JSON_LOG))
    submitted = [line["batch"] for line in log if line["event"] == "submitted"]
    assert (sorted(submitted), log[-1]["batches"], log[-1]["outcomes"]) == (
        [1, 2, 3],
        {"collected": 3},
        {"succeeded": 20},
    )
    assert log[-1]["cost"] > 0 and log[-1]["spec"] == "job" and log[-1]["run"]


def test_json_log_ends_with_the_error_and_its_exit_code(tmp_path: Path) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api", on=fail_at("retrieve", ErrorResponse(403, "no"), times=99)) as environ:
        last = read_log(command(tmp_path, environ, "run", "job.yaml", "--yes", *JSON_LOG))[-1]
    assert (last["event"], last["exit_code"], last["batches"]["submitted"] > 0) == ("stopped", 7, True)
    assert "error:" not in last["message"]


def test_json_log_of_an_unfinished_run_has_the_command(tmp_path: Path) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api", seconds=600) as environ:
        last = read_log(command(tmp_path, environ, "run", "job.yaml", "--yes", "--no-wait", *JSON_LOG))[-1]
    assert (last["event"], last["command"]) == ("unfinished", "runner run job.yaml --yes --log-format json")


def test_quiet_prints_the_summary_alone(tmp_path: Path) -> None:
    write_job(tmp_path)
    done = command(tmp_path, environ_without_key(), "run", "job.yaml", "--simulate", "-q")
    assert (done.stderr, done.stdout.startswith("job: 20 rows, 20 succeeded")) == ("", True)


def test_quiet_prints_errors(tmp_path: Path) -> None:
    write_job(tmp_path)
    done = command(tmp_path, {**environ_without_key(), "HOME": str(tmp_path)}, "run", "job.yaml", "--yes", "-q")
    assert (done.returncode, done.stderr.startswith("error: no credentials")) == (7, True)


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_repeating_a_finished_run_says_that_nothing_was_sent(tmp_path: Path, words: tuple[str, ...]) -> None:
    write_job(tmp_path)
    for _ in range(2):
        done = command(tmp_path, environ_without_key(), "run", "job.yaml", "--simulate", *words)
    assert re.search(r"run \w+ had finished on \d{4}-\d\d-\d\d at .*: nothing was sent", done.stderr)
    assert "submitted" not in done.stderr


def test_run_that_the_cap_pauses_still_prints_its_json(tmp_path: Path) -> None:
    write_job(tmp_path, limits={"max_cost": 0.00005})
    done = command(tmp_path, environ_without_key(), "run", "job.yaml", "--simulate", "--json")
    summary = json.loads(done.stdout)
    assert (done.returncode, summary["state"], "the run is paused" in done.stderr) == (7, "running", True)
    assert [sink["type"] for sink in summary["sinks"]] == ["jsonl", "csv"]
