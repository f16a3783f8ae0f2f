"""Two results are compared from Python."""

from pathlib import Path
from typing import Any

from runner import load_spec, run
from tests.support.projects import SPEC


def test_results_are_compared_by_key(tmp_path: Path) -> None:
    job: dict[str, Any] = {name: SPEC[name] for name in ("name", "prompt", "params", "output")}
    spec = load_spec({**job, "source": {"key": "id"}}, root=tmp_path)
    rows = [{"id": number, "text": f"text number {number}"} for number in range(1, 6)]
    old = run(spec, rows=rows, simulate=True)
    new = run(spec, rows=[{"id": 2, "text": "another"}, *rows[2:], {"id": 9, "text": "new"}], simulate=True)
    found = new.diff(old, examples=1)
    assert {kind: count for kind, count in found.rows.items() if count} == {
        "same": 3,
        "changed": 1,
        "added": 1,
        "removed": 1,
    }
    assert (found.because, found.fields[0].examples[0].key, found.old.run) == ({"data": 1}, 2, old.run)
