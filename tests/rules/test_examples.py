"""Every rule matches its bad example and not its good one."""

from datetime import date
from pathlib import Path

import pytest

from runner import load_spec, plan
from runner.rules.finding import Finding
from runner.rules.run import RULES, run_rules
from tests.support import DATA, FIRST_JOBS

EXAMPLES = sorted((DATA / "rules").glob("*.yaml"))
DAY = date(2026, 11, 24)


def find_all(path: Path) -> list[Finding]:
    """The findings with the facts of a plan, on a day on which no further model has retired."""
    spec = load_spec(path)
    planned = plan(spec, offline=True).findings
    dated = run_rules(spec, today=DAY)
    return [*dated, *(finding for finding in planned if finding not in dated and "model" not in finding.rule)]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_rule_matches_its_bad_example_only(project: Path, path: Path) -> None:
    name, kind = path.stem.split(".")
    findings = [str(one) for one in find_all(Path(path.name)) if one.rule == name]
    expected = path.with_suffix(".txt").read_text("utf-8") if kind == "bad" else ""
    assert "".join(f"{line}\n" for line in findings) == expected
    assert (project / path.name).exists()


def test_every_rule_has_a_bad_and_a_good_example() -> None:
    assert {path.stem for path in EXAMPLES} == {f"{name}.{kind}" for name in RULES for kind in ("bad", "good")}


@pytest.mark.parametrize("path", FIRST_JOBS, ids=lambda path: path.stem)
def test_a_shipped_spec_has_no_finding(path: Path) -> None:
    assert find_all(path) == []


def test_third_party_facts_are_only_warnings(project: Path) -> None:
    path = project / "forced-tool-choice.bad.yaml"
    path.write_text(path.read_text().replace("claude-opus-5-5", "claude-fable-5-2"))
    severities = {one.rule: one.severity for one in run_rules(load_spec(path), today=DAY)}
    assert severities == {"forced-tool-choice": "warning", "client-tools": "warning"}


@pytest.mark.parametrize(
    ("model", "thinking", "severity"),
    [
        ("claude-sonnet-4-6", "{type: adaptive}", ["error"]),
        ("claude-sonnet-4-6", "{type: enabled, budget_tokens: 2000}", ["error"]),
        ("claude-sonnet-4-6", "{type: between_tools}", ["warning"]),
        ("claude-sonnet-4-6", "{type: disabled}", []),
        ("claude-fable-5", "null", ["error"]),
    ],
)
def test_forced_tool_call_while_thinking_is_found(
    project: Path, model: str, thinking: str, severity: list[str]
) -> None:
    path = project / "forced-tool-choice.good.yaml"
    changed = path.read_text().replace("claude-opus-5", model).replace("max_tokens: 100", "max_tokens: 4000")
    path.write_text(changed.replace("  tools:", f"  thinking: {thinking}\n  tools:"))
    found = [one.severity for one in run_rules(load_spec(path), today=DAY) if one.rule == "forced-tool-choice"]
    assert found == severity
