"""Outputs of another run as a source."""

import json
from pathlib import Path

import pytest

from runner import load_spec, plan
from runner.errors import InputError
from runner.lifecycle.validate.checks import validate_spec
from tests.support.projects import SPEC, write_chain


def test_missing_upstream_output_is_reported(tmp_path: Path) -> None:
    write_chain(tmp_path)
    spec = load_spec(tmp_path / "second.yaml")
    assert validate_spec(spec).findings == []
    with pytest.raises(
        InputError, match=r"out/all\.jsonl: not found: first\.yaml writes this file, so run that spec first"
    ):
        plan(spec, offline=True)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("second.yaml", "the specs refer to each other in a circle: second.yaml → second.yaml"),
        ("third.yaml", "the specs refer to each other in a circle: second.yaml → third.yaml → second.yaml"),
        ("absent.yaml", "cannot read the spec"),
        ("../first.yaml", "is outside the project folder"),
        ("narrow.yaml", "needs a jsonl sink on this machine, without `columns`"),
    ],
)
def test_invalid_run_source_is_an_error(tmp_path: Path, spec: str, message: str) -> None:
    write_chain(tmp_path)
    narrow = {**SPEC, "name": "narrow", "sinks": [{"type": "csv", "path": "out/n.csv"}]}
    (tmp_path / "narrow.yaml").write_text(json.dumps(narrow))
    path = tmp_path / "second.yaml"
    path.write_text(path.read_text().replace("first.yaml", spec))
    with pytest.raises(InputError, match=message.replace(".", r"\.")):
        load_spec(path)


def test_spec_of_another_project_is_rejected_as_source(tmp_path: Path) -> None:
    write_chain(tmp_path)
    (tmp_path / "other/prompts").mkdir(parents=True)
    (tmp_path / "first.yaml").rename(tmp_path / "other/first.yaml")
    path = tmp_path / "second.yaml"
    path.write_text(path.read_text().replace("first.yaml", "other/first.yaml"))
    with pytest.raises(InputError, match="belongs to another project"):
        load_spec(path)
