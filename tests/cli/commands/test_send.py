"""The command that sends: run."""

import json
from pathlib import Path

import pytest

from tests.support import FIRST_JOBS, JUDGE, ROOT
from tests.support.outputs import records
from tests.support.processes import RUN_SIMULATED, Ended, command, piped_command
from tests.support.projects import IMPOSSIBLE_SCHEMA, write_job
from tests.support.simulator import accepted, environ_without_key, simulator


@pytest.mark.parametrize("spec", FIRST_JOBS, ids=lambda path: path.stem)
def test_every_shipped_job_is_valid_and_runs(tmp_path: Path, spec: Path) -> None:
    for name in ("specs", "prompts"):
        (tmp_path / name).symlink_to(ROOT / name)
    done = command(tmp_path, environ_without_key(), "run", f"specs/{spec.name}", "--simulate", "--json")
    summary = json.loads(done.stdout)
    assert (done.returncode, summary["outcomes"]) == (0, {"succeeded": summary["rows"]})


def test_judge_runs_after_the_job_that_it_judges(tmp_path: Path) -> None:
    for name in ("specs", "prompts"):
        (tmp_path / name).symlink_to(ROOT / name)
    environ, judge = environ_without_key(), f"specs/{JUDGE.name}"
    assert command(tmp_path, environ, "run", "specs/invoices.yaml", "--simulate").returncode == 0
    plan = json.loads(command(tmp_path, environ, "plan", judge, "--simulate", "--json").stdout)
    assert (plan["new"], plan["findings"], plan["estimated_cost"] > 0) == (40, [], True)
    summary = json.loads(command(tmp_path, environ, "run", judge, "--simulate", "--json").stdout)
    assert summary["outcomes"] == {"succeeded": 40}
    assert {score["name"]: score["labelled"] for score in summary["evaluation"]} == {"type": 12, "vendor": 10}


def test_run_in_a_pipe_prints_plain_lines_and_output_paths(tmp_path: Path) -> None:
    write_job(tmp_path)
    done = command(tmp_path, environ_without_key(), *RUN_SIMULATED)
    assert "job: 20 rows, 20 succeeded, in " in done.stdout
    assert "wrote   simulated/out/all.jsonl   20 rows\n" in done.stdout
    assert ("batch 1: 8 requests submitted as msgbatch_" in done.stderr, "\x1b" in done.stderr) == (True, False)


def test_json_is_one_object_on_stdout(tmp_path: Path) -> None:
    write_job(tmp_path)
    summary = json.loads(command(tmp_path, environ_without_key(), *RUN_SIMULATED, "--json").stdout)
    assert list(summary) == [
        "run",
        "spec",
        "state",
        "rows",
        "outcomes",
        "batches",
        "sinks",
        "usage",
        "cost",
        "seconds",
        "unreadable_usage",
        "failures",
        "is_simulated",
        "evaluation",
        "is_pilot",
        "accounts",
        "queues",
    ]
    assert list(summary["batches"][0]) == ["id", "state", "requests"]
    assert list(summary["sinks"][0]) == ["type", "path", "rows"]


def test_failed_rows_give_exit_code_3(tmp_path: Path) -> None:
    write_job(tmp_path, output={"schema": IMPOSSIBLE_SCHEMA})
    done = command(tmp_path, environ_without_key(), *RUN_SIMULATED)
    assert (done.returncode, "20 errored" in done.stdout) == (3, True)


def test_a_var_can_be_given_on_the_command_line(tmp_path: Path) -> None:
    write_job(tmp_path, vars={"tone": "kind"}, prompt={"user": "{{ tone }}: {{ text }}"})
    done = command(tmp_path, environ_without_key(), "render", "job.yaml", "--limit", "1", "--var", "tone=a=b")
    assert json.loads(done.stdout)["params"]["messages"][0]["content"] == "a=b: text number 1"
    assert command(tmp_path, environ_without_key(), "render", "job.yaml", "--var", "tone").returncode == 2


def test_run_without_a_key_says_what_to_do(tmp_path: Path) -> None:
    write_job(tmp_path)
    done = command(tmp_path, {**environ_without_key(), "HOME": str(tmp_path)}, "run", "job.yaml", "--yes")
    assert (done.returncode, done.stderr) == (
        7,
        (
            "error: no credentials: set ANTHROPIC_API_KEY, or write it into .env beside the spec; "
            "or try the job with --simulate\n"
        ),
    )


def test_run_without_a_terminal_needs_yes(tmp_path: Path) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api") as environ:
        done = command(tmp_path, environ, "run", "job.yaml")
        assert (done.returncode, accepted(tmp_path / "api")) == (2, 0)
        assert "20 to send in 3 batches" in done.stderr
        assert command(tmp_path, environ, "run", "job.yaml", "--yes").returncode == 0


def test_no_wait_exits_with_4_and_says_how_to_resume(tmp_path: Path) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api", seconds=1) as environ:
        first = command(tmp_path, environ, "run", "job.yaml", "--yes", "--no-wait")
        assert (first.returncode, "resume with: runner run job.yaml --yes\n" in first.stderr) == (4, True)
        assert command(tmp_path, environ, "run", "job.yaml").returncode == 0
    assert accepted(tmp_path / "api") == 3


def piped(root: Path, text: str, *words: str) -> Ended:
    return piped_command(root, environ_without_key(), text, *RUN_SIMULATED, *words)


def test_standard_input_is_compared_on_resume(tmp_path: Path) -> None:
    write_job(tmp_path, source={"type": "jsonl", "path": "-"}, batch={})
    rows = "".join(json.dumps({"text": f"number {n}"}) + "\n" for n in range(1000))
    assert piped(tmp_path, rows, "--no-wait").returncode == 4
    other = piped(tmp_path, rows + rows)
    assert (other.returncode, "standard input: edited" in other.stderr) == (2, True)
    assert piped(tmp_path, rows).returncode == 0
    assert len(records(tmp_path / "simulated" / "out" / "all.jsonl")) == 1000


def test_one_shot_pipe_loses_no_row(tmp_path: Path) -> None:
    write_job(tmp_path, source={"type": "jsonl", "path": "/dev/stdin"}, batch={})
    rows = "".join(json.dumps({"text": f"number {n}"}) + "\n" for n in range(3000))
    assert piped(tmp_path, rows).returncode == 0
    assert len(records(tmp_path / "simulated" / "out" / "all.jsonl")) == 3000
