"""The doctor finds every kind of damage to a state, and changes nothing."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.processes import RUN, command
from tests.support.projects import change_results, lose_requests, write_job
from tests.support.simulator import simulator


def sql(root: Path, statement: str) -> None:
    with sqlite3.connect(root / ".runner" / "state.db") as database:
        database.execute(statement)
    database.close()


def folder(root: Path) -> Path:
    [found] = (root / ".runner" / "runs").iterdir()
    return found


def edit(name: str, old: bytes, new: bytes) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        path = folder(root) / name
        text = path.read_bytes()
        assert old in text
        path.write_bytes(text.replace(old, new, 1))

    return change


def edit_body(root: Path) -> None:
    sql(root, "UPDATE batch SET state = 'ended' WHERE batch = 1")
    edit("bodies/1-1.json", b"text number 1", b"text number !")(root)


def lose_row(root: Path, row: int) -> None:
    lose_requests(root, {row})
    change_results(root, lambda one: None if one.row == row else one)


def index_of(root: Path, name: str) -> Path:
    [found] = (folder(root) / "index").glob(f"{name}.*")
    return found


def edit_index(root: Path) -> None:
    path = index_of(root, "1-1.requests")
    path.write_bytes(path.read_bytes()[::-1])


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a row is lost": (lambda root: lose_row(root, 7), "row 7 is missing from the index files"),
    "the last row is lost": (lambda root: lose_row(root, 20), "19 in the index files"),
    "an index file is edited": (edit_index, "differs from what was written"),
    "an index file is gone": (lambda root: index_of(root, "1-1.results").unlink(), "cannot be read"),
    "rows.jsonl is gone": (lambda root: (folder(root) / "rows.jsonl").unlink(), "rows.jsonl cannot be read"),
    "the record is edited": (
        edit("spec.json", b"Label the text.", b"Label the test."),
        "its content differs from what was written",
    ),
    "the record is gone": (lambda root: (folder(root) / "spec.json").unlink(), "is damaged"),
    "results are gone": (lambda root: (folder(root) / "results/1-2.jsonl").unlink(), "not at its recorded place"),
    "a result moved": (edit("results/1-1.jsonl", b"{", b" {"), "not at its recorded place"),
    "a tally is wrong": (lambda root: sql(root, "UPDATE outcome_count SET rows = 19"), "outcome counts are wrong"),
    "counts are wrong": (
        lambda root: sql(root, "UPDATE batch SET requests = 9 WHERE batch = 1"),
        "has 8 rows",
    ),
    "an id is lost": (
        lambda root: sql(root, "UPDATE batch SET state = 'submitted', batch_id = NULL WHERE batch = 2"),
        "is submitted, but its batch ID is None",
    ),
    "a result is edited": (
        edit("results/1-1.jsonl", b"model", b"modem"),
        "1-1.jsonl differs from what was received",
    ),
    "a row is edited": (
        edit("rows.jsonl", b"number", b"Number"),
        "rows.jsonl differs from what was written",
    ),
    "the database is gone": (lambda root: (root / ".runner/state.db").unlink(), "state.db is missing"),
    "a body is edited": (edit_body, "1-1.json differs from what was written"),
    "an output is gone": (lambda root: (root / "out/all.jsonl").unlink(), "run the spec again to write it"),
    "a file is open to others": (lambda root: (folder(root) / "rows.jsonl").chmod(0o644), "by other users"),
    "a key is in the state": (
        lambda root: (folder(root) / "results/note").write_text("sk-ant-api03-" + "x" * 40),
        "looks like an API key",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_doctor_finds_each_kind_of_damage(project: Path, damage: str) -> None:
    change, message = DAMAGE[damage]
    with simulator(project / "api") as environ:
        assert command(project, environ, *RUN).returncode == 0
        sound = command(project, environ, "doctor", "--remote")
        assert (sound.returncode, sound.stdout.splitlines()[1:]) == (0, ["1 run, 0 findings"])
        change(project)
        ended = command(project, environ, "doctor")
    assert (ended.returncode, ended.stderr) == (8, "")
    assert message in ended.stdout


def test_doctor_lists_the_next_steps(project: Path) -> None:
    with simulator(project / "api", seconds=9, faults=["accept-then-drop"]) as environ:
        assert command(project, environ, *RUN, "--no-wait").returncode == 4
        ended = command(project, environ, "doctor")
    assert ended.returncode == 0
    assert "the next run searches for batch 1, polls batch 2, polls batch 3\n" in ended.stdout


def test_doctor_finds_a_batch_paid_twice(project: Path) -> None:
    with simulator(project / "api") as environ:
        assert command(project, environ, *RUN).returncode == 0
        [stored, *_] = sorted((project / "api").glob("msgbatch_*.json"))
        twin = stored.with_name("msgbatch_twin.json")
        twin.write_text(stored.read_text().replace(stored.stem, twin.stem))
        twin.with_suffix(".jsonl").write_bytes(stored.with_suffix(".jsonl").read_bytes())
    with simulator(project / "api") as environ:
        ended = command(project, environ, "doctor", "--remote")
    assert (ended.returncode, "msgbatch_twin was sent as batch" in ended.stdout, "paid twice" in ended.stdout) == (
        8,
        True,
        True,
    )


def test_project_without_state_has_no_findings(tmp_path: Path) -> None:
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, "doctor").stdout.endswith("\n0 runs, 0 findings\n")


def test_doctor_finds_a_batch_older_than_29_days(project: Path) -> None:
    with simulator(project / "api", seconds=9) as environ:
        assert command(project, environ, *RUN, "--no-wait").returncode == 4
        sql(project, "UPDATE batch SET created_at = created_at - 30 * 86400 WHERE batch = 2")
        ended = command(project, environ, "doctor")
    assert (ended.returncode, "batch 2: is older than 29 days" in ended.stdout) == (8, True)


def test_output_behind_a_url_is_not_a_missing_file(tmp_path: Path) -> None:
    write_job(tmp_path, sinks=[{"type": "jsonl", "path": "memory://out/all.jsonl"}])
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
        assert command(tmp_path, environ, "doctor").stdout.endswith("\n1 run, 0 findings\n")


def test_simulated_run_leaves_no_doctor_findings(tmp_path: Path) -> None:
    write_job(tmp_path)
    environ = {"PATH": "/usr/bin"}
    assert command(tmp_path, environ, "run", "job.yaml", "--simulate").returncode == 0
    write_job(tmp_path, mode="sync", reuse=False)
    assert command(tmp_path, environ, "run", "job.yaml", "--simulate", "--new").returncode == 0
    assert command(tmp_path, environ, "doctor").returncode == 0
