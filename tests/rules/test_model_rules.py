"""Rules about the dates of models."""

from datetime import date
from pathlib import Path

import pytest

from runner import load_spec
from runner.rules.run import run_rules


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


@pytest.mark.parametrize(
    ("model", "rule", "message"),
    [
        ("claude-opus-4-5", "deprecated-model", "retires on 2027-01-22"),
        ("claude-mythos-preview", "retired-model", "was retired on 2026-06-30"),
        ("claude-sonnet-4-20250514", "retired-model", "is retired"),
        ("claude-3-5-haiku-latest", "retired-model", "is retired"),
    ],
)
def test_dated_ids_and_ends_of_the_sdk_are_known(project: Path, model: str, rule: str, message: str) -> None:
    path = project / "retired-model.bad.yaml"
    path.write_text(path.read_text().replace("claude-opus-4-1", model))
    [found] = run_rules(load_spec(path), today=date(2026, 11, 24))
    assert (found.rule, f"{model} {message}" in found.message) == (rule, True)
