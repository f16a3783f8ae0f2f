"""Move all runs of a project from its folder to a shared state, or back.

Files are copied first. Then one commit on the shared database hands the runs over, so that they may be sent from
one place only, whenever the move is killed: before that commit the database of the folder is renamed, or not there
yet. A repeated move asks the shared database if the commit took place.
"""

import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from runner.errors import StateError, StateLocked
from runner.files.atomic import sync_folder
from runner.files.object_store import ObjectStore
from runner.store.database import create_database, make_state_folder, open_database
from runner.store.lock import lock_folder
from runner.store.moving.copy_runs import RunCopier
from runner.store.moving.move_files import Report, RunFiles
from runner.store.moving.moved import (
    ARRIVING,
    DATABASE,
    LEAVING,
    MOVED,
    LocalRun,
    has_database,
    is_home,
    list_runs,
    make_home,
    note_place,
    rename_database,
)
from runner.store.place import StatePlace
from runner.store.shared.lease import Leases, describe_move, find_new_home
from runner.store.shared.postgres import PostgresConnection, check_packages
from runner.store.shared.schema import prepare_schema
from runner.text import pluralize


@dataclass(frozen=True, slots=True)
class Moved:
    """The result of a move: the number of runs that are in their new place, and of their files."""

    runs: int
    files: int


def ignore_line(_: str) -> None:
    """Take a line about progress, and do nothing."""


@dataclass(frozen=True, slots=True)
class _Project:
    """A project in a shared state that this process holds as a whole."""

    place: StatePlace
    database: PostgresConnection
    files: RunFiles

    def list_runs(self) -> list[LocalRun]:
        query = "SELECT id, spec, state FROM run WHERE project = ? ORDER BY number"
        return [LocalRun(*row) for row in self.database.execute(query, (self.place.project,))]

    def forget_home(self) -> None:
        self.database.execute("DELETE FROM moved WHERE project = ?", (self.place.project,))

    def note_home(self) -> None:
        """Record that the folder has the runs of the project."""
        folder, project = self.place.folder, self.place.project
        home = f"{folder.resolve()} on {socket.gethostname()}"
        self.database.execute("INSERT INTO moved VALUES (?, ?, ?)", (project, home, make_home(folder)))

    def delete_runs(self) -> None:
        for table in ("run", "event"):
            self.database.execute(f"DELETE FROM {table} WHERE project = ?", (self.place.project,))


@contextmanager
def _hold_both(place: StatePlace) -> Iterator[_Project]:
    """Keep all other runners out of a folder and of its project in a shared state. Raises StateLocked."""
    make_state_folder(place.folder)
    check_packages(place)
    objects = ObjectStore(str(place.project_files), origin=place.files_origin)
    with (
        lock_folder(place.folder),
        closing(PostgresConnection(place)) as connection,
    ):
        prepare_schema(connection, place)
        with closing(Leases(place, connection)) as leases:
            leases.hold_project()
            yield _Project(place, connection, RunFiles(objects, place.folder, leases.check))


def move_to_shared(place: StatePlace, report: Report = ignore_line) -> Moved:
    """Move all runs of a project folder to a shared state. Raises StateLocked and StateError."""
    folder = place.folder
    if has_database(folder):
        # It is checked, and upgraded if it must be.
        with open_database(folder, lock=True):
            pass
    with _hold_both(place) as project:
        _settle_leaving(project)
        runs = list_runs(folder / DATABASE)
        _check_apart(project, runs)
        if not runs:
            return Moved(len(project.list_runs()), 0)
        if find_new_home(project.database) is None and not project.list_runs():
            # So that other machines are told where the runs still are, once their files are in the store.
            project.note_home()
        files = project.files.upload([run.id for run in runs], report)
        _hand_over(project)
        return Moved(len(runs), files)


def _hand_over(project: _Project) -> None:
    """Record all runs of the folder in the shared state, and set its database aside."""
    folder = project.place.folder
    with open_database(folder, lock=False) as (local, _), project.database.transaction():
        project.forget_home()
        RunCopier(local, project.database, local).copy()
        note_place(folder, str(project.place))
        _empty_log(folder)
        rename_database(folder, DATABASE, LEAVING)
    rename_database(folder, LEAVING, MOVED)


def _settle_leaving(project: _Project) -> None:
    """Finish a move to the shared state that was interrupted at its commit, or undo it."""
    folder = project.place.folder
    if not (folder / LEAVING).exists() or has_database(folder):
        return
    there = {run.id for run in project.list_runs()}
    is_done = any(run.id in there for run in list_runs(folder / LEAVING))
    rename_database(folder, LEAVING, MOVED if is_done else DATABASE)


def _check_apart(project: _Project, runs: list[LocalRun]) -> None:
    """Raise StateError if the runs of the shared state are in another folder, or are of the same specs.

    Which ones of a spec are the newest would not be known.
    """
    home = find_new_home(project.database)
    if home is not None and not is_home(project.place.folder, home.token):
        raise describe_move(project.place.project, home)
    if both := sorted({run.spec for run in project.list_runs()} & {run.spec for run in runs}):
        raise StateError(
            f"{project.place} has runs of {both[0]!r} already, and so has {project.place.folder}: move to another "
            f"`project`, or rename {project.place.folder / DATABASE} to leave its runs behind"
        )


def _empty_log(folder: Path) -> None:
    """Write what is in SQLite's log to the database, since the log does not follow a new name."""
    with closing(sqlite3.connect(folder / DATABASE, timeout=10)) as database:
        (is_busy, *_) = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if is_busy:
        raise StateLocked(f"another process reads {folder / DATABASE}: wait until it finishes")


def move_to_folder(place: StatePlace, report: Report = ignore_line) -> Moved:
    """Move all runs of a project in a shared state to its folder. Raises StateLocked and StateError."""
    folder = place.folder
    with _hold_both(place) as project:
        _settle_leaving(project)
        home, files = find_new_home(project.database), 0
        if home is None:
            files = _bring_home(project, report)
        elif not is_home(folder, home.token):
            raise describe_move(place.project, home)
        if (folder / ARRIVING).exists():
            _arrive(folder)
        project.files.delete()
        return Moved(len(list_runs(folder / DATABASE)), files)


def _bring_home(project: _Project, report: Report) -> int:
    """Copy all runs to the folder, and let go of them in the shared state; return the number of files."""
    folder, runs = project.place.folder, project.list_runs()
    if here := list_runs(folder / DATABASE):
        raise StateError(
            f"{folder / DATABASE} has {pluralize(len(here), 'run')} of its own: `runner move` takes them to "
            f"{project.place}, or rename it to leave them behind"
        )
    files = project.files.download([run.id for run in runs], report)
    with create_database(folder / ARRIVING) as local, local.transaction():
        RunCopier(project.database, local, local).copy()
    sync_folder(folder)
    with project.database.transaction():
        project.delete_runs()
        project.note_home()
    return files


def _arrive(folder: Path) -> None:
    """Make the database that has arrived that of the folder."""
    for copies in (folder / "runs").glob("*/.copies"):
        copies.unlink()
    # Those of a database without runs, whose log would be read as that of the new one.
    for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm"):
        (folder / name).unlink(missing_ok=True)
    rename_database(folder, ARRIVING, DATABASE)
    (folder / MOVED).unlink(missing_ok=True)
