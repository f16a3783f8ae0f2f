"""Mistakes in evaluations are found before anything is paid, at their lines and with the nearest name."""

import json
from pathlib import Path
from typing import Any

import pytest

from runner.lifecycle.validate.checks import validate_file
from runner.spec.load import load_spec
from runner.spec.record import make_record
from tests.support.projects import write_job

GOOD: dict[str, Any] = {"name": "label", "expected": "row.text", "actual": "output.label"}


def problems(root: Path, *evaluations: dict[str, Any], **changes: Any) -> list[str]:
    """The mistakes that `validate` finds in these evaluations."""
    path = write_job(root, evaluate=list(evaluations), allow=["few-rows", "label-in-prompt"], **changes)
    path.write_text(
        path.read_text().replace('"evaluate": [{', '"evaluate": [\n{').replace('}, {"name', '},\n{"name')
    )
    return [str(one).partition(".yaml:")[2] for one in validate_file(path).findings]


def test_sound_evaluations_have_no_finding(tmp_path: Path) -> None:
    others: list[dict[str, Any]] = [
        {"name": "score", "expected": "row.text | length", "actual": "output.score", "within": 2},
        {"name": "own", "expected": "vars.wanted ~ key", "actual": "row.text", "match": "expected in actual"},
        {"name": "guarded", "expected": "row.other | default('')", "actual": "output.label", "match": "set"},
    ]
    assert problems(tmp_path, GOOD, *others, vars={"wanted": "good"}) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"expected": "row.txt"}, "row has no field 'txt': did you mean 'text'?"),
        ({"expected": "text"}, "'text' is undefined: did you mean 'row.text'?"),
        ({"expected": "output.label"}, "'output' is undefined: expected one of: row, key, vars"),
        ({"expected": "vars.wantd"}, "vars has no field 'wantd': did you mean 'wanted'?"),
        ({"expected": "row.text |"}, "not an expression: unexpected end"),
        ({"actual": "output.lable"}, "output has no field 'lable': did you mean 'label'?"),
        ({"actual": "outptu.label"}, "'outptu' is undefined: did you mean 'output'?"),
        ({"match": "caseflod"}, "'caseflod' is no way to compare: did you mean 'casefold'?"),
        ({"match": "fuzzy"}, "'fuzzy' is no way to compare: expected one of: exact, casefold, json, set, an expr"),
        ({"match": "expected == output"}, "'output' is undefined: expected one of: expected, actual"),
    ],
)
def test_mistake_is_found_at_its_line(tmp_path: Path, change: dict[str, str], message: str) -> None:
    [found] = problems(tmp_path, {**GOOD, "name": "first"}, {**GOOD, **change}, vars={"wanted": "good"})
    assert found.startswith("3:")
    assert f"evaluation 'label': {message}" in found


def test_output_without_a_schema_is_text(tmp_path: Path) -> None:
    [found] = problems(tmp_path, GOOD, output={"allow_empty": True})
    assert "output is text and has no field 'label'" in found


def test_mistakes_of_all_evaluations_are_found_at_once(tmp_path: Path) -> None:
    first, second = {**GOOD, "expected": "row.txt", "min_accuracy": 90}, {**GOOD, "name": "b", "actual": "lable"}
    found = "".join(problems(tmp_path, first, second))
    assert [word in found for word in ("must be at most 1: write 0.9 for 90 %", "'txt'", "'lable'")] == [True] * 3


def test_evaluations_are_no_part_of_the_snapshot(tmp_path: Path) -> None:
    before = make_record(load_spec(write_job(tmp_path)))
    path = write_job(tmp_path, evaluate=[GOOD])
    assert make_record(load_spec(path)) == before
    assert "evaluate" not in json.dumps(before)
