"""The doctor compares a shared state with its objects, and downloads them only if it is told to."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.processes import RUN, command

pytestmark = [pytest.mark.slow, pytest.mark.server]


@pytest.fixture
def finished(tmp_path: Path, begun: dict[str, str], shared: dict[str, str]) -> dict[str, str]:
    """The environment of a finished run in a shared state."""
    environ = {**begun, **shared}
    assert command(tmp_path, environ, "move").returncode == 0
    assert command(tmp_path, environ, *RUN).returncode == 0
    return environ


def objects(root: Path) -> Path:
    """The folder of the only run in the object store."""
    [found] = (root / "bucket").glob("the runs/*/runs/*")
    return found


def diagnose(root: Path, environ: dict[str, str], *options: str) -> tuple[int, str]:
    ended = command(root, environ, "doctor", *options)
    return ended.returncode, ended.stdout + ended.stderr


def test_sound_state_is_checked_without_its_files(other: Path, finished: dict[str, str]) -> None:
    code, text = diagnose(other, finished)
    assert (code, "1 run, 0 findings" in text) == (0, True), text
    assert list((other / ".runner").rglob("*.jsonl")) == []
    code, text = diagnose(other, finished, "--download")
    assert (code, "1 run, 0 findings" in text) == (0, True), text
    assert list((other / ".runner").rglob("rows.jsonl")) != []


def index_of(folder: Path, kind: str) -> Path:
    return next((folder / "index").glob(f"1-1.{kind}.*"))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "rows are gone": (lambda run: (run / "rows.jsonl").unlink(), "rows.jsonl is missing"),
    "the record is gone": (lambda run: (run / "spec.json").unlink(), "spec.json is missing"),
    "an index is gone": (lambda run: index_of(run, "results").unlink(), "is missing in the object store"),
    "an index is cut": (
        lambda run: index_of(run, "requests").write_bytes(b"1" * 36),
        "has 36 bytes, which is not",
    ),
    "results are gone": (lambda run: (run / "results/1-2.jsonl").unlink(), "results/1-2.jsonl is missing"),
    "a run is unknown": (
        lambda run: run.rename(run.with_name("x1")),
        "/runs/x1, but is not in the database; it was sent",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_object_is_found(tmp_path: Path, other: Path, finished: dict[str, str], case: str) -> None:
    damage, message = DAMAGE[case]
    damage(objects(tmp_path))
    code, text = diagnose(other, finished)
    assert (code, message in text) == (8, True), text


def test_files_that_a_killed_runner_left_can_be_deleted(
    tmp_path: Path, other: Path, finished: dict[str, str]
) -> None:
    left = objects(tmp_path).with_name("x1") / "bodies"
    left.mkdir(parents=True)
    code, text = diagnose(other, finished)
    assert (code, "1 run, 0 findings" in text) == (0, True), text
    (left / "1-1.json").write_bytes(b"{}")
    code, text = diagnose(other, finished)
    command_line = f"nothing was sent: delete them with `rm -r '{left.parent}'`"
    assert (code, command_line in text) == (8, True), text


def test_changed_object_is_found_by_its_digest(tmp_path: Path, other: Path, finished: dict[str, str]) -> None:
    path = objects(tmp_path) / "results/1-1.jsonl"
    path.write_bytes(path.read_bytes().replace(b"model", b"modem", 1))
    assert diagnose(other, finished)[0] == 0
    code, text = diagnose(other, finished, "--download")
    assert (code, "1-1.jsonl differs from what was received" in text) == (8, True), text


def test_missing_body_of_an_unfinished_run_is_found(
    tmp_path: Path, begun: dict[str, str], shared: dict[str, str]
) -> None:
    assert command(tmp_path, {**begun, **shared}, "move").returncode == 0
    (objects(tmp_path) / "bodies/1-3.json").unlink()
    code, text = diagnose(tmp_path, {**begun, **shared})
    assert (code, "bodies/1-3.json is missing" in text, "the next run polls" in text) == (8, True, True), text


def test_runs_that_were_left_are_found(tmp_path: Path, begun: dict[str, str], shared: dict[str, str]) -> None:
    code, text = diagnose(tmp_path, {**begun, **shared})
    assert (code, "take them there with `runner move`" in text) == (8, True), text
