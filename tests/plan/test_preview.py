"""The plan is shown before consent, and changes nothing."""

import json
from pathlib import Path

import pytest

from runner.lifecycle.plan.ways import WAY_NAMES
from tests.support.processes import command
from tests.support.projects import SPEC, write_job
from tests.support.simulator import accepted, environ_without_key, paid, simulator

PLAN_KEYS = ["rows", "new", "reused", "batches", "input_tokens", "output_tokens", "cost", "findings"]


def test_plan_json_has_the_documented_keys(tmp_path: Path) -> None:
    write_job(tmp_path)
    ended = command(tmp_path, environ_without_key(), "plan", "job.yaml", "--json")
    shown = json.loads(ended.stdout)
    assert (ended.returncode, [key for key in PLAN_KEYS if key not in shown]) == (0, [])
    assert set(shown["cost"]) == {*WAY_NAMES, "max", "worst"}
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


@pytest.mark.parametrize("words", [["plan", "--offline"], ["run", "--simulate", "--new"]])
def test_findings_of_a_plan_are_shown_with_their_line(tmp_path: Path, words: list[str]) -> None:
    here = tmp_path / "elsewhere"
    here.mkdir()
    schema = {"type": "object", "properties": {"label": {"type": "string"}}, "required": ["label"]}
    write_job(tmp_path, rows=3, output={"schema": "schema.json"})
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    (tmp_path / "other.yaml").write_text((tmp_path / "job.yaml").read_text().replace('"job"', '"other"'))
    excerpt = "../schema.json:1:1: warning: `additionalProperties: false` is added"
    for specs in (["../job.yaml"], ["../job.yaml", "../other.yaml"], [".."]):
        done = command(here, environ_without_key(), words[0], *specs, *words[1:])
        shown = done.stdout + done.stderr
        assert (excerpt in shown, '\n1 | {"type": "object",' in shown) == (True, True)


def test_rule_errors_are_shown_in_the_plan_and_stop_a_run(tmp_path: Path) -> None:
    write_job(tmp_path, params={**SPEC["params"], "temperature": 0})
    planned = command(tmp_path, environ_without_key(), "plan", "job.yaml", "--json")
    [finding] = json.loads(planned.stdout)["findings"]
    assert (planned.returncode, finding["rule"], finding["severity"]) == (2, "sampling", "error")
    assert list(finding) == ["rule", "severity", "path", "line", "column", "message", "remedy"]
    for words in (("run", "job.yaml", "--simulate"), ("validate", "job.yaml")):
        ended = command(tmp_path, environ_without_key(), *words)
        assert (ended.returncode, "[sampling]" in ended.stderr) == (2, True)
