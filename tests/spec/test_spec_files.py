"""Paths, folders and globs name spec files, and a spec has a project."""

import os
from pathlib import Path

import pytest

from runner.errors import InputError
from runner.spec.spec_files import find_project_root, find_spec_files
from tests.support.projects import MINIMAL_SPEC


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder whose folder `specs` has two specs, and YAML files that are none."""
    (tmp_path / "specs" / "deep").mkdir(parents=True)
    for name in ("b.yaml", "a.yml", "deep/c.yaml"):
        (tmp_path / "specs" / name).write_text(MINIMAL_SPEC)
    (tmp_path / "specs" / "compose.yaml").write_text("version: 3\nservices: {}\n")
    (tmp_path / "specs" / "list.yaml").write_text("- version\n- source\n")
    (tmp_path / "specs" / "notes.txt").write_text(MINIMAL_SPEC)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(*written: str) -> list[str]:
    return [str(path) for path in find_spec_files(written)]


def test_a_folder_means_its_own_specs() -> None:
    assert found("specs") == found("specs/") == ["specs/a.yml", "specs/b.yaml"]


def test_a_glob_is_expanded_if_the_shell_did_not() -> None:
    assert found("specs/*.yaml") == ["specs/b.yaml"]
    assert found("specs/**/*.y*ml") == ["specs/a.yml", "specs/b.yaml", "specs/deep/c.yaml"]


def test_a_path_is_kept_even_if_it_is_no_spec() -> None:
    assert found("specs/compose.yaml", "nope.yaml") == ["specs/compose.yaml", "nope.yaml"]


def test_a_file_named_like_a_glob_is_that_file(folder: Path) -> None:
    (folder / "[x].yaml").write_text(MINIMAL_SPEC)
    assert found("[x].yaml") == ["[x].yaml"]


def test_a_spec_that_is_named_twice_counts_once() -> None:
    assert found("specs/b.yaml", "specs", os.path.abspath("specs/b.yaml")) == ["specs/b.yaml", "specs/a.yml"]


def test_a_damaged_spec_in_a_folder_is_not_left_out(folder: Path) -> None:
    (folder / "specs" / "c.yaml").write_text(MINIMAL_SPEC + "params: {\n")
    assert found("specs") == ["specs/a.yml", "specs/b.yaml", "specs/c.yaml"]


def test_a_folder_or_glob_without_specs_is_an_error(folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(InputError) as caught:
        find_spec_files(["empty", "x*.yaml"])
    assert [problem.path for problem in caught.value.problems] == ["empty", "x*.yaml"]
    assert "no specs: YAML files with the keys `version` and `source`" in str(caught.value)


@pytest.mark.parametrize("marker", ["prompts", ".runner"])
def test_project_root_is_the_nearest_marked_folder(tmp_path: Path, marker: str) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "a" / marker).mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    assert find_project_root(tmp_path / "a" / "b" / "c" / "s.yaml") == (tmp_path / "a").resolve()
    assert find_project_root(tmp_path / "s.yaml") == tmp_path.resolve()


def test_a_file_called_prompts_does_not_mark_a_project(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "prompts").touch()
    assert find_project_root(tmp_path / "a" / "s.yaml") == tmp_path.resolve()
