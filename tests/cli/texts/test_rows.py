"""Wrong answers as a table, and in the whole story of a row."""

import io
from typing import Any

from rich.console import Console

from runner.cli.texts.rows import build_wrong_table, format_row

ROW: dict[str, Any] = {
    "key": "r1", "row": {"text": "hi"}, "outcome": "succeeded", "reason": None, "output": {"label": "bad"},
    "error": None, "usage": None, "stop_reason": None, "model": None, "custom_id": None, "batch_id": None,
    "wrong": {"label": {"expected": "good", "actual": "bad"}, "due": {"expected": "2026-01-01", "actual": None}},
}  # fmt: skip
REFUSED = {
    **ROW,
    "key": "r2",
    "outcome": "refused",
    "reason": "refused: violence",
    "output": None,
    "wrong": {"label": {"expected": "[bold]good", "actual": None}},
}


def test_table_has_a_line_for_each_evaluation_that_a_row_misses() -> None:
    console = Console(file=io.StringIO(), width=100)
    console.print(build_wrong_table([ROW, REFUSED]))
    assert isinstance(console.file, io.StringIO)
    assert [line.split() for line in console.file.getvalue().splitlines()] == [
        ["key", "evaluation", "expected", "actual"],
        ["r1", "label", "good", "bad"],
        ["r1", "due", "2026-01-01", "null"],
        ["r2", "label", "[bold]good", "(refused:", "violence)"],
    ]


def test_story_of_a_row_says_what_is_wrong() -> None:
    lines = format_row(ROW).splitlines()
    assert "  wrong    label: expected good, answered bad" in lines
    assert "  wrong    due: expected 2026-01-01, answered null" in lines
    assert not any("wrong" in line for line in format_row({**ROW, "wrong": {}}).splitlines())
