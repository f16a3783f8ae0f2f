"""Rules about the dates of models."""

from datetime import date
from pathlib import Path

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
