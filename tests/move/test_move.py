"""Runs move to a shared state and back, and nothing is paid twice on the way."""

import shutil
from pathlib import Path

import pytest

from runner.files.object_store import ObjectStore
from tests.support.outputs import records
from tests.support.processes import RUN, command
from tests.support.projects import BATCHES, EACH_ONCE, SPEC, write_job
from tests.support.simulator import accepted, end_all, paid, paid_by_all, sent_to, two_accounts

pytestmark = [pytest.mark.slow, pytest.mark.server]


def test_moved_run_ends_on_another_machine(
    tmp_path: Path, other: Path, begun: dict[str, str], shared: dict[str, str]
) -> None:
    moved = command(tmp_path, {**begun, **shared}, "move")
    assert (moved.returncode, "has 1 run; " in moved.stdout) == (0, True), moved.stderr
    ended = command(other, {**begun, **shared}, *RUN)
    assert ended.returncode == 0, ended.stderr
    assert paid(tmp_path / "api") == EACH_ONCE and accepted(tmp_path / "api") == BATCHES
    assert [one["outcome"] for one in records(other / "out/all.jsonl")] == ["succeeded"] * 20
    assert command(tmp_path, {**begun, **shared}, *RUN).returncode == 0
    assert accepted(tmp_path / "api") == BATCHES


def test_left_runs_are_not_ignored(tmp_path: Path, begun: dict[str, str], shared: dict[str, str]) -> None:
    for words in (RUN, ("recover", "job.yaml", "--yes")):
        refused = command(tmp_path, {**begun, **shared}, *words)
        assert (refused.returncode, "with `runner move`" in refused.stderr) == (8, True), refused.stderr
    assert accepted(tmp_path / "api") == BATCHES
    ended = command(tmp_path, begun, *RUN)
    assert ended.returncode == 0, ended.stderr


def test_folder_says_where_its_runs_have_gone(
    tmp_path: Path, begun: dict[str, str], shared: dict[str, str]
) -> None:
    assert command(tmp_path, {**begun, **shared}, "move").returncode == 0
    for words in (RUN, ("status",), ("doctor",), ("show", "job"), ("plan", "job.yaml")):
        ended = command(tmp_path, begun, *words)
        assert ended.returncode == 8, f"{words}: {ended.stdout}{ended.stderr}"
        assert "have moved to postgresql://tester@" in ended.stderr, ended.stderr
    assert not (tmp_path / ".runner/state.db").exists()


def test_runs_come_back(tmp_path: Path, other: Path, begun: dict[str, str], shared: dict[str, str]) -> None:
    assert command(tmp_path, {**begun, **shared}, "move").returncode == 0
    # To a machine that has no files of theirs.
    back = command(other, {**begun, **shared}, "move", "--to", "local")
    assert (back.returncode, ".runner has 1 run; " in back.stdout) == (0, True), back.stderr
    assert ObjectStore(shared["RUNNER_FILES"]).list_files("") == {}
    refused = command(tmp_path, {**begun, **shared}, *RUN)
    assert (refused.returncode, f"have moved to {other}" in refused.stderr) == (8, True), refused.stderr
    ended = command(other, begun, *RUN)
    assert ended.returncode == 0, ended.stderr
    assert command(other, begun, "doctor").returncode == 0
    assert paid(tmp_path / "api") == EACH_ONCE and accepted(tmp_path / "api") == BATCHES
    again = command(other, {**begun, **shared}, "move")
    assert again.returncode == 0, again.stderr
    assert command(tmp_path, {**begun, **shared}, *RUN).returncode == 0
    assert accepted(tmp_path / "api") == BATCHES


def test_run_moves_with_all_that_is_known_of_it(
    tmp_path: Path, begun: dict[str, str], shared: dict[str, str]
) -> None:
    assert command(tmp_path, begun, *RUN).returncode == 0
    before = {words: command(tmp_path, begun, *words).stdout for words in (("status", "--json"), ("costs",))}
    assert command(tmp_path, {**begun, **shared}, "move").returncode == 0
    shutil.rmtree(tmp_path / ".runner/runs")
    assert {words: command(tmp_path, {**begun, **shared}, *words).stdout for words in before} == before
    assert command(tmp_path, {**begun, **shared}, "doctor").returncode == 0
    assert command(tmp_path, {**begun, **shared}, "move", "--to", "local").returncode == 0
    assert {words: command(tmp_path, begun, *words).stdout for words in before} == before


def test_target_is_named_on_the_command_line(
    tmp_path: Path, begun: dict[str, str], shared: dict[str, str]
) -> None:
    url, files = shared["RUNNER_STATE"], shared["RUNNER_FILES"]
    words = ("move", "--to", url, "--files", files, "--project", shared["RUNNER_PROJECT"])
    moved = command(tmp_path, begun, *words)
    assert moved.returncode == 0, moved.stderr
    assert "into runner.toml" in moved.stdout and "secret" not in moved.stdout
    assert command(tmp_path, {**begun, **shared}, *RUN).returncode == 0
    assert accepted(tmp_path / "api") == BATCHES


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("move",), "no shared state is named"),
        (("move", "--to", "local"), "no shared state is named"),
        (("move", "--to", "mysql://x", "--files", "file:///x"), "begins with postgresql://"),
        (("move", "--to", "postgresql://x"), "needs `files` beside it"),
        (("move", "--files", "file:///x"), "need --to with the URL"),
    ],
)
def test_mistake_in_a_target_is_named(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    write_job(tmp_path)
    ended = command(tmp_path, {}, *words)
    assert (ended.returncode, message in ended.stderr) == (2, True), ended.stderr


def test_runs_of_one_spec_are_not_mixed(
    tmp_path: Path, other: Path, begun: dict[str, str], shared: dict[str, str]
) -> None:
    assert command(other, {**begun, **shared}, *RUN).returncode == 0
    refused = command(tmp_path, {**begun, **shared}, "move")
    assert (refused.returncode, "has runs of 'job' already" in refused.stderr) == (8, True), refused.stderr


def test_batches_stay_in_their_accounts(tmp_path: Path, other: Path, shared: dict[str, str]) -> None:
    for root in (tmp_path, other):
        write_job(root, batch={**SPEC["batch"], "max_requests": 4})
    full = ["max-queue:8"]
    with two_accounts(tmp_path, full, full, seconds=600) as environ:
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
        assert command(tmp_path, {**environ, **shared}, "move").returncode == 0
        assert command(other, {**environ, **shared}, *RUN, "--no-wait").returncode == 4
        assert command(other, {**environ, **shared}, "move", "--to", "local").returncode == 0
        assert sent_to(tmp_path) == (2, 2)
    end_all(tmp_path)
    with two_accounts(tmp_path) as environ:
        ended = command(other, environ, *RUN)
    assert ended.returncode == 0, ended.stderr
    assert (sum(sent_to(tmp_path)), paid_by_all(tmp_path)) == (6, EACH_ONCE)
