"""Explanations of rules, whose examples are true."""

import json
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from runner import load_spec, plan
from runner.lifecycle.validate.checks import validate_file
from runner.rules.explain.explain import explain_rule
from runner.rules.finding import CHECKS
from runner.rules.run import OTHER_FINDINGS, RULES, run_rules
from runner.spec.yaml.document import parse_yaml

SPEC: dict[str, Any] = {
    "version": 1,
    "name": "example",
    "source": {"type": "csv", "path": "rows.csv", "key": "id"},
    "prompt": {"user": "{{ text }}"},
    "params": {"model": "claude-sonnet-5", "max_tokens": 4000},
    "sinks": [{"type": "jsonl", "path": "out/all.jsonl"}],
}


@pytest.mark.parametrize("name", RULES)
def test_rule_finds_the_example_of_its_explanation(project: Path, name: str) -> None:
    part = parse_yaml(explain_rule(name).example.encode(), path="example").value
    path = project / "explained.yaml"
    path.write_text(json.dumps({**SPEC, **part, "params": {**SPEC["params"], **part.get("params", {})}}))
    spec = load_spec(path)
    found = {one.rule for one in run_rules(spec, today=date(2026, 11, 24))}
    if name not in found:
        found = {one.rule for one in plan(spec, offline=True).findings}
    assert name in found


@pytest.mark.parametrize("name", ["spec", "source", "template", "output", "sink", "rejected"])
def test_check_finds_the_example_of_its_explanation(project: Path, name: str) -> None:
    part = parse_yaml(explain_rule(name).example.encode(), path="example").value
    path = project / "explained.yaml"
    path.write_text(json.dumps({**SPEC, **part}))
    assert name in {one.rule for one in validate_file(path).findings}
    path.write_text(json.dumps({**SPEC, **part, "allow": ["rejected"]}))
    assert (name in {one.rule for one in validate_file(path).findings}) == (name != "rejected")


def explain(*words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "runner", "explain", *words]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_explain_prints_a_rule_or_lists_all() -> None:
    shown = explain("duplicate-tool").stdout
    assert shown.startswith("duplicate-tool (error): Report tools of the same name.\n")
    assert all(f"\n{word}:" in shown for word in ("why", "source", "example", "remedy"))
    listed = "\n" + explain().stdout
    assert all(f"\n{name} " in listed for name in (*RULES, *OTHER_FINDINGS, *CHECKS))


@pytest.mark.parametrize("name", [*OTHER_FINDINGS, *CHECKS])
def test_finding_that_no_rule_makes_is_explained_too(name: str) -> None:
    found = explain_rule(name)
    assert (found.rule, found.what[:7], all(found)) == (name, "Report ", True)


def test_explain_suggests_the_nearest_rule() -> None:
    done = explain("duplicat-tool")
    assert (done.returncode, "did you mean 'duplicate-tool'?" in done.stderr) == (2, True)
