"""Errors and warnings, and the comments that silence a warning."""

from pathlib import Path

import pytest

from runner import load_spec
from runner.errors import InputError
from runner.lifecycle.validate.checks import validate_spec
from runner.rules.run import run_rules

END = "; version 0.3 no longer knows the old name"


def test_errors_stop_a_spec_and_warnings_do_not(project: Path) -> None:
    assert [one.rule for one in validate_spec(load_spec(project / "client-tools.bad.yaml")).findings] == [
        "client-tools"
    ]
    with pytest.raises(InputError, match=r"sampling\.bad\.yaml:8:16: the API rejects temperature.*\[sampling\]"):
        validate_spec(load_spec(project / "sampling.bad.yaml"))


@pytest.mark.parametrize(
    "comment",
    ["key: email} # runner: allow key-is-personal-data", "key: email}\nallow: [few-rows, key-is-personal-data]"],
)
def test_a_warning_is_silenced_for_its_line_or_for_the_spec(project: Path, comment: str) -> None:
    path = project / "key-is-personal-data.bad.yaml"
    path.write_text(path.read_text().replace("key: email}", comment))
    assert run_rules(load_spec(path)) == []


def test_comment_above_a_line_applies_to_it(project: Path) -> None:
    path = project / "key-is-personal-data.bad.yaml"
    path.write_text(path.read_text().replace("source:", "# runner: allow few-rows, key-is-personal-data\nsource:"))
    assert run_rules(load_spec(path)) == []


def test_a_comment_elsewhere_silences_nothing(project: Path) -> None:
    path = project / "key-is-personal-data.bad.yaml"
    path.write_text(path.read_text() + "# runner: allow key-is-personal-data\n")
    assert [one.rule for one in run_rules(load_spec(path))] == ["key-is-personal-data"]


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


def test_note_about_an_old_name_is_silenced(project: Path) -> None:
    path = project / "few-rows.good.yaml"
    path.write_text(path.read_text() + "\nallow: [old-name]\nbatch: {on_unknown: ask}\n")
    assert [one for one in run_rules(load_spec(path)) if one.rule == "old-name"] == []


def test_names_of_the_last_version_are_accepted_with_a_note(project: Path) -> None:
    path = project / "key-is-personal-data.bad.yaml"
    text = path.read_text().replace("key: email}", "key: email} # runner: allow personal-key")
    path.write_text(text + "allow: [overwritten]\nbatch: {on_unknown: ask}\n")
    assert [(one.severity, one.rule, one.line, one.message) for one in run_rules(load_spec(path))] == [
        ("warning", "old-name", 3, "the rule personal-key is now called key-is-personal-data" + END),
        (
            "warning",
            "old-name",
            text.count("\n") + 1,
            "the rule overwritten is now called sink-overwrites-input" + END,
        ),
        ("warning", "old-name", text.count("\n") + 2, "on_unknown: ask is now called on_unknown: stop" + END),
    ]
