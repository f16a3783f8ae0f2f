"""The database of a state: upgraded from what an older version wrote, refused if a newer one did."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from runner import Summary
from runner.store.database import SCHEMA_VERSION, open_database
from runner.store.index.batch_index import locate
from runner.store.index.index_files import outcome_name
from runner.store.index.upgrade_rows import ROW_TABLE_VERSION
from runner.store.lock import lock_folder
from runner.store.open_store import open_store
from tests.support import DATA
from tests.support.processes import RUN, command
from tests.support.projects import SPEC, write_job
from tests.support.simulator import accepted, environ_without_key, simulator

OLD = [DATA / f"states/state_version_{version}.sql" for version in range(1, SCHEMA_VERSION)]
NAMES_NOW = {
    "stranger": "excluded_batch",
    "tally": "outcome_count",
    "run.estimated": "estimated_cost",
    "batch.unknown_at": "search_started_at",
    "batch.unknown_since": "search_started_local",
    "batch.faulty_since": "not_found_since",
    "batch.downloads": "incomplete_downloads",
    "batch.refused_after": "accepted_before_rejection",
    "batch.refusal": "rejection",
    "batch.odd": "ignored_lines",
    "batch.lane": "send_mode",
    "batch.reserved": "reserved_cost",
    "batch.synchronous": "synchronous_cost",
    "row.again": "retry",
    "row.same_as": "duplicate_of",
    "row.extra": "size_adjustment",
}
"""Tables and columns of versions 1 to 4 whose names have changed since."""


def make_old(root: Path, script: Path, version: int) -> None:
    """Put what a run left behind into a database as an older version wrote it."""
    if version <= ROW_TABLE_VERSION:
        add_row_table(root / ".runner")
    path = root / ".runner" / "state.db"
    new = root / "new.db"
    shutil.move(path, new)
    with sqlite3.connect(path) as old:
        old.executescript(script.read_text("utf-8"))
        old.execute("ATTACH ? AS new", (str(new),))
        for table in ("run", "batch", "stranger", "excluded_batch", "row", "tally", "outcome_count"):
            if not old.execute(f"PRAGMA table_info({table})").fetchall():
                continue
            columns = [row[1] for row in old.execute(f"PRAGMA table_info({table})")]
            now = ", ".join(NAMES_NOW.get(f"{table}.{column}", column) for column in columns)
            source = f"new.{NAMES_NOW.get(table, table)}"
            quoted = ", ".join(f'"{column}"' for column in columns)
            old.execute(f"INSERT INTO {table} ({quoted}) SELECT {now} FROM {source}")  # noqa: S608
        old.execute(f"PRAGMA user_version = {version}")
    old.close()


ROW_TABLE = """
CREATE TABLE row (run, row, round, batch, body_offset, body_length, outcome, retry, result_offset, result_length,
                  digest, duplicate_of, size_adjustment, sent_length)
"""


def add_row_table(folder: Path) -> None:
    """Put the rows of the one run into a table, as versions before 10 had it, and delete its index files."""
    with open_store(folder, lock=False) as store:
        [run] = store.runs()
        rows: dict[int, tuple[Any, ...]] = {}
        for batch in store.batches(run):
            results = {one[0]: (one[1], one[2], *one[3:]) for one in store.row_index.outcomes_of(batch)}
            for row, offset, length, sent, adjustment, digest in store.row_index.requests(batch):
                result = results.get(row, (None, 0, None, None))
                place = (run.number, row, batch.round, batch.batch, offset, length)
                rows[row] = (*place, *result, digest, None, adjustment, sent)
        for row, first, code, offset, length, digest in store.row_index.unsent_rows(run):
            result = (None, 0, None, None) if first else (outcome_name(code), 0, *locate(offset, length))
            rows[row] = (run.number, row, 0, 0, 0, 0, *result, digest, first or None, 0, None)
        shutil.rmtree(store.folder(run).path / "index")
    with sqlite3.connect(folder / "state.db") as database:
        database.execute(ROW_TABLE)
        database.executemany("INSERT INTO row VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows.values())
    database.close()


def schema(path: Path) -> dict[str, set[str]]:
    with sqlite3.connect(path) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {table: {row[1] for row in database.execute(f"PRAGMA table_info({table})")} for table in tables}
    database.close()
    return found


@pytest.mark.parametrize("script", OLD, ids=lambda path: path.stem)
def test_run_started_by_an_older_version_resumes(tmp_path: Path, script: Path) -> None:
    version = int(script.stem.rpartition("_")[2])
    write_job(tmp_path)
    with simulator(tmp_path / "api", seconds=1) as environ:
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
        now = schema(tmp_path / ".runner/state.db")
        make_old(tmp_path, script, version)
        before = (tmp_path / ".runner/state.db").read_bytes()
        assert "unfinished" in command(tmp_path, environ, "status").stdout
        assert command(tmp_path, environ, *RUN).returncode == 0
    assert schema(tmp_path / ".runner/state.db") == now
    assert len(before) == len((tmp_path / f".runner/state.db.{version}").read_bytes())
    assert accepted(tmp_path / "api") == 3


def test_state_of_a_newer_version_is_rejected(tmp_path: Path) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
        with sqlite3.connect(tmp_path / ".runner/state.db") as database:
            database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        database.close()
        for words in (RUN, ("status",), ("doctor",)):
            ended = command(tmp_path, environ, *words)
            assert (ended.returncode, "newer runner" in ended.stderr) == (8, True)


@pytest.mark.parametrize("content", [b"", b"not a database", b"SQLite format 3\0" + bytes(5000)])
def test_invalid_database_is_rejected(tmp_path: Path, content: bytes) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
        (tmp_path / ".runner/state.db").write_bytes(content)
        ended = command(tmp_path, environ, *RUN)
    assert (ended.returncode, "Traceback" in ended.stderr, accepted(tmp_path / "api")) == (8, False, 3)


def test_database_with_a_lost_page_is_rejected(tmp_path: Path) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api") as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
        with sqlite3.connect(tmp_path / ".runner/state.db") as database:
            database.execute("PRAGMA writable_schema = ON")
            database.execute("DELETE FROM sqlite_master WHERE name = 'event_pending'")
        database.close()
        ended = command(tmp_path, environ, *RUN)
    assert (ended.returncode, "state.db is damaged" in ended.stderr) == (8, True), ended.stderr


def test_database_in_use_is_not_upgraded(tmp_path: Path) -> None:
    write_job(tmp_path)
    folder = tmp_path / ".runner"
    with open_database(folder, lock=False) as (database, _):
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION - 1}")
    with lock_folder(folder):
        ended = command(tmp_path, environ_without_key(), "status")
    assert ended.returncode == 6, ended.stderr
    assert not list(folder.glob("state.db.*"))


def test_git_ignores_the_state(tmp_path: Path) -> None:
    ignore = tmp_path / ".runner/.gitignore"
    with open_database(ignore.parent, lock=False):
        assert ignore.read_text() == "*\n"
    ignore.write_text("*\n!.gitignore\n")
    with open_database(ignore.parent, lock=False):
        assert ignore.read_text() == "*\n!.gitignore\n"


READ = "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute('SELECT rows FROM outcome_count'))"


def test_opening_it_twice_keeps_the_locks_of_the_first(tmp_path: Path) -> None:
    # A process that takes itself for the last one deletes the log, and with it what others write later.
    words = [sys.executable, "-c", READ, str(tmp_path / "state.db")]
    with open_database(tmp_path, lock=True) as (first, _):
        with open_database(tmp_path, lock=False):
            pass
        assert subprocess.check_output(words, text=True) == "\n"
        first.execute("PRAGMA foreign_keys = OFF")
        first.execute("INSERT INTO outcome_count VALUES (1, 'succeeded', 20)")
        assert subprocess.check_output(words, text=True) == "(20,)\n"


def test_rows_are_the_same_after_an_upgrade(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    texts = ["one", "two", "two", "x" * 2000, "three", "one"]
    write_job(tmp_path, batch={**SPEC["batch"], "max_requests": 2, "max_bytes": 2_000}, retry={"attempts": 2})
    (tmp_path / "rows.csv").write_text("id,text\n" + "".join(f"{n},{text}\n" for n, text in enumerate(texts)))
    answers = cycle(["invalid", "succeeded", "errored"])
    run_job(mix=lambda _: next(answers))
    with open_store(tmp_path / ".runner") as store:
        before = [list(store.row_index.row_outcomes(run)) for run in store.runs()]
        counts = [store.counts.read(run) for run in store.runs()]
    assert {row[1] for row in before[0]} >= {"succeeded", "rejected"}
    assert {row[2] for row in before[0]} == {0, 1, 2}
    assert sum(row[0] != row[6] for row in before[0]) == 2
    make_old(tmp_path, OLD[ROW_TABLE_VERSION - 1], ROW_TABLE_VERSION)
    with open_store(tmp_path / ".runner") as store:
        assert [list(store.row_index.row_outcomes(run)) for run in store.runs()] == before
        assert [store.counts.read(run) for run in store.runs()] == counts
