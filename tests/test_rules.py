"""Each rule finds what its bad example does, where it stands, and nothing in its good one."""

import shutil
from datetime import date
from pathlib import Path

import pytest

from runner import load_spec, plan
from runner.errors import InputError
from runner.lifecycle.prepare.validate import validate_spec
from runner.rules.finding import Finding
from runner.rules.run import RULES, run_rules

TESTS = Path(__file__).parent
EXAMPLES = sorted((TESTS / "rules").glob("*.yaml"))
SHIPPED = sorted((TESTS.parent / "specs").glob("*.yaml"))
DAY = date(2026, 11, 24)


def find_all(path: Path) -> list[Finding]:
    """What the rules find: with the facts of a plan, and on a day on which no further model has retired."""
    spec = load_spec(path)
    planned = plan(spec, offline=True).findings
    dated = run_rules(spec, today=DAY)
    return [*dated, *(finding for finding in planned if finding not in dated and "model" not in finding.rule)]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(TESTS / "rules", tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_rule_matches_its_bad_example_only(project: Path, path: Path) -> None:
    name, kind = path.stem.split(".")
    findings = [str(one) for one in find_all(Path(path.name)) if one.rule == name]
    expected = path.with_suffix(".txt").read_text("utf-8") if kind == "bad" else ""
    assert "".join(f"{line}\n" for line in findings) == expected
    assert (project / path.name).exists()


def test_every_rule_has_a_bad_and_a_good_example() -> None:
    assert {path.stem for path in EXAMPLES} == {f"{name}.{kind}" for name in RULES for kind in ("bad", "good")}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_spec_has_no_finding(path: Path) -> None:
    assert find_all(path) == []


def test_errors_stop_a_spec_and_warnings_do_not(project: Path) -> None:
    assert [one.rule for one in validate_spec(load_spec(project / "client-tools.bad.yaml")).findings] == [
        "client-tools"
    ]
    with pytest.raises(InputError, match=r"sampling\.bad\.yaml:8:16: the API rejects temperature.*\[sampling\]"):
        validate_spec(load_spec(project / "sampling.bad.yaml"))


@pytest.mark.parametrize(
    "comment", ["key: email} # runner: allow personal-key", "key: email}\nallow: [few-rows, personal-key]"]
)
def test_a_warning_is_silenced_for_its_line_or_for_the_spec(project: Path, comment: str) -> None:
    path = project / "personal-key.bad.yaml"
    path.write_text(path.read_text().replace("key: email}", comment))
    assert run_rules(load_spec(path)) == []


def test_comment_above_a_line_applies_to_it(project: Path) -> None:
    path = project / "personal-key.bad.yaml"
    path.write_text(path.read_text().replace("source:", "# runner: allow few-rows, personal-key\nsource:"))
    assert run_rules(load_spec(path)) == []


def test_a_comment_elsewhere_silences_nothing(project: Path) -> None:
    path = project / "personal-key.bad.yaml"
    path.write_text(path.read_text() + "# runner: allow personal-key\n")
    assert [one.rule for one in run_rules(load_spec(path))] == ["personal-key"]


def test_an_error_cannot_be_allowed(project: Path) -> None:
    path = project / "sampling.bad.yaml"
    path.write_text(path.read_text() + "allow: [sampling]\n")
    assert [one.rule for one in run_rules(load_spec(path))] == ["sampling"]


def test_unknown_rule_is_an_error_with_a_suggestion(project: Path) -> None:
    path = project / "sampling.good.yaml"
    path.write_text(path.read_text() + "allow: [cliant-tools]\n")
    [one] = run_rules(load_spec(path))
    assert (one.severity, one.message) == (
        "error",
        "there is no rule 'cliant-tools': did you mean 'client-tools'?",
    )


def test_retiring_model_is_a_warning_and_retired_an_error(project: Path) -> None:
    spec = load_spec(project / "deprecated-model.bad.yaml")
    [before] = run_rules(spec, today=date(2026, 11, 1))
    [soon] = run_rules(spec, today=date(2026, 11, 29))
    [after] = run_rules(spec, today=date(2026, 11, 30))
    assert ("plan to use another" in before.message, "before this run ends" in soon.message) == (True, True)
    assert (before.severity, soon.severity, after.rule, after.severity) == (
        "warning",
        "warning",
        "retired-model",
        "error",
    )


def test_third_party_facts_are_only_warnings(project: Path) -> None:
    path = project / "forced-tool-choice.bad.yaml"
    path.write_text(path.read_text().replace("claude-opus-5-5", "claude-fable-5-2"))
    severities = {one.rule: one.severity for one in run_rules(load_spec(path), today=DAY)}
    assert severities == {"forced-tool-choice": "warning", "client-tools": "warning"}


@pytest.mark.parametrize(
    "sink", ["rows.csv", "./data/../rows.csv", "overwritten.good.yaml", ".", "schema.json", "out/../a.jsonl"]
)
def test_sink_cannot_overwrite_an_input_or_output(project: Path, sink: str) -> None:
    (project / "schema.json").write_text("{}")
    path = project / "overwritten.good.yaml"
    sinks = f"[{{type: jsonl, path: a.jsonl}}, {{type: csv, path: {sink}}}]"
    path.write_text(
        path.read_text().replace("[{type: csv, path: out/rows.csv}]", sinks) + "output: {schema: schema.json}\n"
    )
    [one] = [one for one in run_rules(load_spec(path)) if one.rule == "overwritten"]
    assert f"{sink} would overwrite" in one.message


@pytest.mark.parametrize(
    ("sink", "owner"),
    [("prompts/u.j2", "a template"), ("ln/rows.csv", "source.path"), (".runner/state.db", "the state")],
)
def test_sink_cannot_overwrite_templates_source_or_state(project: Path, sink: str, owner: str) -> None:
    (project / "prompts").mkdir()
    (project / "ln").symlink_to(project)
    path = project / "overwritten.good.yaml"
    path.write_text(path.read_text().replace("out/rows.csv", sink))
    [one] = [one for one in run_rules(load_spec(path)) if one.rule == "overwritten"]
    assert f"{sink} would overwrite {owner}" in one.message


@pytest.mark.parametrize(
    "place", ["  tools: # runner: allow client-tools\n", "  # runner: allow client-tools\n  tools:\n"]
)
def test_comment_at_a_list_key_applies_to_the_list(project: Path, place: str) -> None:
    path = project / "client-tools.bad.yaml"
    text = path.read_text()
    assert "  tools: [" in text
    item = "    - {name: look_up, input_schema: {type: object}}\n"
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith("  tools:")]
    at = next(number for number, line in enumerate(lines) if "max_tokens" in line) + 1
    path.write_text("".join([*lines[:at], place, item, *lines[at:]]))
    assert run_rules(load_spec(path)) == []


def test_absurd_prices_are_rejected(project: Path) -> None:
    path = project / "sampling.good.yaml"
    path.write_text(path.read_text() + "prices: {input: 1e308, output: 1}\n")
    with pytest.raises(InputError, match="must be at most 1000000"):
        load_spec(path)
