"""A pipe, a device or a folder in the place of a file is an error, and nothing waits for it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import load_spec, plan
from runner.errors import InputError
from tests.support.processes import command
from tests.support.projects import write_job

MAKE: dict[str, Callable[[Path], object]] = {
    "a named pipe": os.mkfifo,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "Is a directory": Path.mkdir,
}
SOURCES: list[tuple[str, dict[str, Any]]] = [
    ("csv", {}),
    ("jsonl", {}),
    ("json", {}),
    ("text", {}),
    ("files", {}),
    ("xlsx", {}),
    ("parquet", {}),
    ("sql", {"query": "SELECT 1"}),
]

pytestmark = pytest.mark.parametrize("kind", MAKE)


def problem(root: Path) -> str:
    """What `validate` says, which must also end a plan."""
    ended = command(root, os.environ, "validate", "job.yaml")
    assert ended.returncode == 2
    with pytest.raises(InputError) as caught:
        plan(load_spec(root / "job.yaml"), offline=True)
    assert str(caught.value).partition(": ")[2] in ended.stderr
    return ended.stderr


@pytest.mark.parametrize(("type", "options"), SOURCES)
def test_source_that_is_no_regular_file_is_refused(
    tmp_path: Path, kind: str, type: str, options: dict[str, Any]
) -> None:
    MAKE[kind](tmp_path / "rows")
    source = {"type": type, "path": str(tmp_path / "rows"), **options}
    write_job(tmp_path, source=source, prompt={"user": "x"})
    with pytest.raises(InputError) as caught:
        plan(load_spec(tmp_path / "job.yaml"), offline=True)
    assert f"{tmp_path / 'rows'}: cannot read: " in str(caught.value)
    assert kind in str(caught.value)


def test_source_is_refused_by_validate(tmp_path: Path, kind: str) -> None:
    MAKE[kind](tmp_path / "rows")
    write_job(tmp_path, source={"type": "csv", "path": str(tmp_path / "rows")})
    said = problem(tmp_path)
    assert kind in said
    assert ('send it to standard input (`path: "-"`)' in said) == (kind != "Is a directory")


def test_template_that_is_no_regular_file_is_refused(tmp_path: Path, kind: str) -> None:
    write_job(tmp_path, prompt={"user": "user.j2"})
    MAKE[kind](tmp_path / "prompts" / "user.j2")
    words = {
        "a named pipe": "cannot read prompts/user.j2: it is a named pipe, not a regular file",
        "a device": "user.j2 is outside prompts/",
        "Is a directory": "no template prompts/user.j2",
    }
    assert words[kind] in problem(tmp_path)


def test_schema_that_is_no_regular_file_is_refused(tmp_path: Path, kind: str) -> None:
    MAKE[kind](tmp_path / "schema.json")
    write_job(tmp_path, output={"schema": str(tmp_path / "schema.json")})
    ended = command(tmp_path, os.environ, "validate", "job.yaml")
    assert ended.returncode == 2
    assert "output.schema: " in ended.stderr
    assert kind in ended.stderr


def test_spec_that_is_no_regular_file_is_refused(tmp_path: Path, kind: str) -> None:
    MAKE[kind](tmp_path / "job.yaml")
    with pytest.raises(InputError, match="cannot read the spec: ") as caught:
        load_spec(tmp_path / "job.yaml")
    assert kind in str(caught.value)


def test_attachment_that_is_no_regular_file_rejects_its_row(tmp_path: Path, kind: str) -> None:
    MAKE[kind](tmp_path / "a.txt")
    folder = {"folder": "/dev", "path": "zero"} if kind == "a device" else {"path": "a.txt"}
    write_job(tmp_path, rows=1, allow=["constant-prompt"], prompt={"user": [{"type": "document", **folder}]})
    ended = command(tmp_path, os.environ, "validate", "job.yaml")
    assert ended.returncode == 0
    assert "is no regular file" in ended.stderr


def test_output_of_an_earlier_spec_must_be_a_file(tmp_path: Path, kind: str) -> None:
    write_job(tmp_path, name="first", sinks=[{"type": "jsonl", "path": str(tmp_path / "all.jsonl")}])
    (tmp_path / "job.yaml").rename(tmp_path / "first.yaml")
    write_job(tmp_path, source={"type": "run", "spec": "first.yaml"}, prompt={"user": "{{ key }}"})
    MAKE[kind](tmp_path / "all.jsonl")
    with pytest.raises(InputError) as caught:
        plan(load_spec(tmp_path / "job.yaml"), offline=True)
    assert kind in str(caught.value)
