"""A pilot from Python."""

from pathlib import Path
from typing import Any

from runner import load_spec, pilot, run
from tests.support.projects import SPEC


def test_run_takes_over_the_answers_of_a_pilot(tmp_path: Path) -> None:
    job: dict[str, Any] = {name: SPEC[name] for name in ("name", "prompt", "params", "output")}
    spec = load_spec({**job, "source": {"key": "id"}}, root=tmp_path)
    rows = [{"id": number, "text": f"text number {number}", "kind": "ab"[number % 2]} for number in range(40)]
    found = pilot(spec, 10, by="kind", rows=rows, simulate=True)
    assert (found.selected_rows, found.values) == (40, {"a": 5, "b": 5})
    assert found.cost is not None and found.cost.low <= found.cost.expected <= found.cost.high
    assert len([record["key"] for record in found.summary]) == 10
    result = run(spec, rows=rows, simulate=True)
    assert (sum(batch["requests"] for batch in result.batches), len(result)) == (30, 40)


def test_pilots_of_two_prompts_are_compared(tmp_path: Path) -> None:
    job: dict[str, Any] = {name: SPEC[name] for name in ("name", "params", "output")}
    rows = [{"id": number, "text": f"text number {number}"} for number in range(40)]
    for prompt in ("{{ text }}", "Label this: {{ text }}"):
        spec = load_spec({**job, "source": {"key": "id"}, "prompt": {"user": prompt}}, root=tmp_path)
        found = pilot(spec, 10, rows=rows, simulate=True)
    assert found.diff is not None
    assert sum(found.diff.rows.values()) == 10
