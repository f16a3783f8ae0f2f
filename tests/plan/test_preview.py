"""The plan is shown before consent, and changes nothing."""

import json
from pathlib import Path

from tests.support.processes import command
from tests.support.projects import SPEC, write_job
from tests.support.simulator import accepted, environ_without_key, paid, simulator

PLAN_KEYS = ["rows", "new", "reused", "batches", "input_tokens", "output_tokens", "cost", "findings"]


def test_plan_json_has_the_documented_keys(tmp_path: Path) -> None:
    write_job(tmp_path)
    ended = command(tmp_path, environ_without_key(), "plan", "job.yaml", "--json")
    shown = json.loads(ended.stdout)
    assert (ended.returncode, [key for key in PLAN_KEYS if key not in shown]) == (0, [])
    assert set(shown["cost"]) == {"sync", "batch", "batch_cache_5m", "batch_cache_1h", "max", "worst"}
    assert set(shown["input_tokens"]) == {"value", "method", "error"}
    assert "without the API" in shown["input_tokens"]["method"]


def test_run_shows_the_plan_and_pays_nothing_before_consent(tmp_path: Path) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, "run", "job.yaml")
        planned = command(tmp_path, environ, "plan", "job.yaml")
    assert (ended.returncode, accepted(tmp_path / "api")) == (2, 0)
    for line in planned.stdout.splitlines():
        assert line in ended.stderr
    assert "cheapest  in batches, as planned: half price" in planned.stdout


def test_plan_does_not_change_state_or_an_unfinished_run(tmp_path: Path) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api", seconds=2) as environ:
        assert command(tmp_path, environ, "run", "job.yaml", "--yes", "--no-wait").returncode == 4
        ended = command(tmp_path, environ, "plan", "job.yaml", "--json")
        assert (ended.returncode, json.loads(ended.stdout)["unfinished_run"] is not None) == (0, True)
        assert command(tmp_path, environ, "run", "job.yaml", "--yes").returncode == 0
    assert max(paid(tmp_path / "api").values()) == 1


def test_rule_errors_are_shown_in_the_plan_and_stop_a_run(tmp_path: Path) -> None:
    write_job(tmp_path, params={**SPEC["params"], "temperature": 0})
    planned = command(tmp_path, environ_without_key(), "plan", "job.yaml", "--json")
    [finding] = json.loads(planned.stdout)["findings"]
    assert (planned.returncode, finding["rule"], finding["severity"]) == (2, "sampling", "error")
    assert list(finding) == ["rule", "severity", "path", "line", "column", "message", "remedy"]
    for words in (("run", "job.yaml", "--simulate"), ("validate", "job.yaml")):
        ended = command(tmp_path, environ_without_key(), *words)
        assert (ended.returncode, "[sampling]" in ended.stderr) == (2, True)
