"""File sinks: names and contents from expressions, all inside one folder."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import Summary, load_spec
from runner.errors import InputError
from runner.sinks.destination import Destination
from runner.spec.spec import Spec
from tests.support.projects import SPEC, write_job
from tests.support.sinks import FAILED_RECORD, outcome_record, write_sink


def files_spec(root: Path, **sink: Any) -> Spec:
    spec = {**SPEC, "sinks": [{"type": "files", "path": "out/f", "name": "key ~ '.md'", **sink}]}
    (root / "prompts").mkdir(exist_ok=True)
    (root / "files.yaml").write_text(json.dumps(spec))
    return load_spec(root / "files.yaml")


def test_file_name_and_content_are_expressions(tmp_path: Path) -> None:
    spec = files_spec(tmp_path, name="row.a ~ '/' ~ key ~ '.md'", rows="succeeded")
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "other").write_text("stays")
    for text in ("old", "é\r\n"):
        write_sink(
            spec,
            Destination(tmp_path / "f"),
            outcome_record(output=text),
            FAILED_RECORD,
            outcome_record(key="k3", output={"n": [1]}),
        )
    found = {str(path.relative_to(tmp_path / "f")): path.read_bytes() for path in tmp_path.glob("f/**/*.*")}
    assert found == {"1/k1.md": "é\r\n".encode(), "1/k3.md": b'{"n":[1]}'}
    assert sorted(path.name for path in tmp_path.iterdir() if path.name not in ("prompts", "files.yaml")) == ["f"]
    assert (tmp_path / "f" / "other").read_text() == "stays"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("'../' ~ key", "'../k1' is not a path inside the folder"),
        ("'/etc/passwd'", "'/etc/passwd' is not a path inside the folder"),
        ("'a/../../b'", "is not a path inside the folder"),
        ("'.'", "'.' is not a path inside the folder"),
        ("row.none", "None is not a valid file name"),
        ("' '", "' ' is not a valid file name"),
        ("'same'", "the file name 'same' is already used by an earlier row"),
        ("'x' * 300", "a file name can have at most 255 bytes"),
    ],
)
def test_invalid_file_name_writes_nothing(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        write_sink(
            files_spec(tmp_path, name=name),
            Destination(tmp_path / "f"),
            outcome_record(output="x"),
            outcome_record(output="y"),
        )
    assert words in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files.yaml", "prompts"]


def test_link_cannot_lead_files_out_of_their_folder(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "f" / "sub").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is a link to a place outside"):
        write_sink(
            files_spec(tmp_path, name="'sub/' ~ key"), Destination(tmp_path / "f"), outcome_record(output="x")
        )
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_files_have_names_from_columns_of_the_row(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=2, sinks=[{"type": "files", "path": "out/f", "name": "row.id ~ '.md'"}])
    assert run_job().exit_code == 0
    assert sorted(path.name for path in (tmp_path / "out/f").iterdir()) == ["r1.md", "r2.md"]
