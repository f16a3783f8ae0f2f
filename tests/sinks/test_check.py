"""Bad columns of a sink are reported together, with their lines."""

from pathlib import Path

from runner.sinks.check import check_sinks
from tests.support.sinks import spec_with


def test_all_bad_columns_are_reported_with_their_lines(tmp_path: Path) -> None:
    first = {"columns": {"ok": "key", "bad": "key +", "typo": "outptu.x"}}
    spec = spec_with(tmp_path, first, {"path": "out/p", "columns": {"worse": "lipsum()"}})
    lines = (tmp_path / "t.yaml").read_text().splitlines()
    problems = check_sinks(spec)
    assert [lines[problem.line - 1].split('"')[1] for problem in problems] == ["bad", "typo", "worse"]
    assert "did you mean 'output'?" in problems[1].message
