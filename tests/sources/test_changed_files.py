"""Input files that were edited, touched, added, or removed."""

import os
from pathlib import Path

from runner.sources.changed_files import find_changed_files
from runner.sources.input_files import Inputs
from runner.sources.read import read_rows
from runner.spec.spec import Source
from tests.support.sources import input_files


def test_untouched_files_have_not_changed(tmp_path: Path) -> None:
    for name in ("1.csv", "2.csv"):
        (tmp_path / name).write_text("a\n1\n")
    assert find_changed_files(tmp_path, "*.csv", input_files(tmp_path, "csv", "*.csv")) == []


def test_touched_file_has_not_changed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    recorded = input_files(tmp_path, "csv", "a.csv")
    os.utime(tmp_path / "a.csv", ns=(1, 1))
    assert find_changed_files(tmp_path, "a.csv", recorded) == []


def test_edited_new_and_missing_files_are_listed_by_name(tmp_path: Path) -> None:
    for name in ("gone", "edited", "longer", "same"):
        (tmp_path / f"{name}.csv").write_text("a\n1\n")
    recorded = input_files(tmp_path, "csv", "*.csv")
    (tmp_path / "gone.csv").unlink()
    (tmp_path / "edited.csv").write_text("a\n2\n")
    os.utime(tmp_path / "edited.csv", ns=(1, 1))
    (tmp_path / "longer.csv").write_text("a\n1\n2\n")
    (tmp_path / "added.csv").write_text("a\n1\n")
    assert find_changed_files(tmp_path, "*.csv", recorded) == ["added.csv", "edited.csv", "gone.csv", "longer.csv"]


def test_files_have_changed_when_all_are_missing(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    recorded = input_files(tmp_path, "csv", "*.csv")
    (tmp_path / "a.csv").unlink()
    assert find_changed_files(tmp_path, "*.csv", recorded) == ["a.csv"]
    assert find_changed_files(tmp_path, "a.csv", recorded) == ["a.csv"]


def test_files_after_the_limit_are_not_new(tmp_path: Path) -> None:
    for name in ("1.csv", "2.csv"):
        (tmp_path / name).write_text("a\n1\n")
    inputs = Inputs(tmp_path)
    assert len(list(read_rows(Source("csv", None, {"path": "*.csv"}), inputs, limit=1))) == 1
    assert find_changed_files(tmp_path, "*.csv", inputs.files, is_limited=True) == []
