"""Mistakes are repaired in memory, so that the checks after them run."""

from pathlib import Path

import pytest

from runner.rules.names.sdk_params import load_sdk_params
from runner.rules.param_rules import SAMPLING_PARAMS
from runner.spec.load import read_spec
from runner.spec.repair.homes import PARAM_NAMES, TOP_LEVEL, find_home
from runner.spec.yaml.quoting import quote_values
from tests.support.projects import MINIMAL_SPEC, SPEC_SCHEMA, load_problems


@pytest.mark.parametrize(
    ("line", "quoted"),
    [
        ("user: {{ text }}", 'user: "{{ text }}"'),
        ("- {{ text }}", '- "{{ text }}"'),
        ("  - user: Label: {{ text }}", '  - user: "Label: {{ text }}"'),
        ('user: You are: "kind"', "user: 'You are: \"kind\"'"),
        (
            "source: {type: csv, path: ${env:DATA}/x.csv, key: id}",
            'source: {type: csv, path: "${env:DATA}/x.csv", key: id}',
        ),
        ("prompt: {user: Label: {{ text }}}", 'prompt: {user: "Label: {{ text }}"}'),
        ("    - check: {{ output.answer }}", "    - check: output.answer"),
        ("where: {{ lang == 'en' }}", "where: lang == 'en'"),
        ("columns: {id: key, label: output.label}", "columns: {id: key, label: output.label}"),
    ],
)
def test_only_values_at_fault_are_quoted(line: str, quoted: str) -> None:
    assert quote_values(line) == quoted
    assert quote_values(quoted) == quoted


@pytest.mark.parametrize(
    ("at", "key", "home"),
    [
        ((), "max_tokens", "params"),
        ((), "user", "prompt"),
        ((), "schema", "output"),
        ((), "key", "source"),
        ((), "attempts", "retry"),
        ((), "max_requests", "batch"),
        (("output",), "model", "params"),
        (("prompt",), "mode", TOP_LEVEL),
        (("source",), "sinks", TOP_LEVEL),
        ((), "nonsense", None),
        (("sinks", 0), "model", None),
    ],
)
def test_key_at_the_wrong_level_has_a_home(at: tuple[str | int, ...], key: str, home: str | None) -> None:
    assert find_home(SPEC_SCHEMA, at, key) == home


def test_known_params_are_those_of_the_sdk() -> None:
    assert set(PARAM_NAMES) <= {*load_sdk_params().params.all, *SAMPLING_PARAMS}


def test_mistakes_of_yaml_and_of_keys_come_in_one_round(project: Path) -> None:
    base = MINIMAL_SPEC.replace("{user: hi}", "\n  user: Hello: {{ x }}").replace("name: good", "nmae: good")
    messages = [one.message for one in load_problems(project, "retry: {attempt: 2}", base=base)]
    assert [message.split(":")[0] for message in messages] == [
        "unknown key 'nmae' in the spec",
        "a value with `{{` must be quoted, because { opens a YAML mapping",
        "unknown key 'attempt' in retry",
    ]


def test_broken_parts_are_neutral_and_known(project: Path) -> None:
    path = project / "specs" / "s.yaml"
    path.write_text(MINIMAL_SPEC.replace("max_tokens: 5", "max_tokens: many").replace("good", "Good"))
    spec, problems = read_spec(path)
    assert spec is not None
    assert (len(problems), spec.broken) == (2, frozenset(("params.max_tokens", "name")))
    assert spec.params["model"] == "m"
    assert [spec.is_sound(at) for at in ("params", "params.model", "params.max_tokens", "name")] == [
        False, True, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize("path", ["~/x.csv", "$HOME/x.csv", "${HOME}/x.csv"])
def test_home_folder_is_named_with_its_variable(project: Path, path: str) -> None:
    [found] = load_problems(project, base=MINIMAL_SPEC.replace("data/in.csv", f'"{path}"'))
    assert found.message.endswith('is not expanded in a spec: write "${env:HOME}/x.csv", with its quotes')


def test_missing_spec_is_answered_with_those_that_exist(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    (project / "specs" / "tickets.yaml").write_text(MINIMAL_SPEC)
    said = [str(problem) for name in ("ticket.yaml", "zzz.yaml") for problem in read_spec(name)[1]]
    assert "did you mean 'specs/tickets.yaml'?" in said[0]
    assert "there are specs/tickets.yaml" in said[1]
