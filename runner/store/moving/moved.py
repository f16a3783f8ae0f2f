"""The names of the database of a state folder, which say if its runs have moved, or are on their way.

The database of a folder has the name `state.db` only while its runs may be sent from there. It is `LEAVING` while
a shared state takes the runs over, and `MOVED` once it has; one that is to take over the runs of a shared state is
`ARRIVING` until that one has let go of them.
"""

import secrets
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from runner.errors import StateError
from runner.files.atomic import atomic_write, sync_folder
from runner.text import pluralize

DATABASE, LEAVING, ARRIVING, MOVED = "state.db", "state.db.leaving", "state.db.arriving", "state.db.moved"
_NOTE, _HOME = "moved", "home"
"""Files with the place where the runs have gone, and with the token of the last move to the folder."""


class LocalRun(NamedTuple):
    """A run in the database of a state folder."""

    id: str
    spec: str
    state: str


def has_database(folder: Path) -> bool:
    """Return whether a state folder has a database of its own. Raises StateError."""
    return bool(_read(folder / DATABASE, "SELECT 1"))


def list_runs(path: Path) -> list[LocalRun]:
    """Return the runs in a database of any version; there need not be one. Raises StateError."""
    return [LocalRun(*row) for row in _read(path, "SELECT id, spec, state FROM run ORDER BY number")]


def _read(path: Path, query: str) -> list[Any]:
    """Return the rows that a database has, or none if it is missing or has no tables yet."""
    if not path.exists():
        return []
    try:
        with closing(sqlite3.connect(path, timeout=10)) as database:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            return database.execute(query).fetchall() if version else []
    except sqlite3.Error as error:
        raise StateError(f"{path} cannot be used: {error}") from error


def note_place(folder: Path, place: str) -> None:
    """Note where the runs of a state folder are about to go."""
    with atomic_write(folder / _NOTE, private=True) as file:
        file.write(f"{place}\n".encode())


def _read_note(folder: Path) -> str:
    path = folder / _NOTE
    return path.read_text("utf-8").strip() if path.exists() else "a shared state"


def make_home(folder: Path) -> str:
    """Return a token by which the folder can show that the runs of a shared state were given to it."""
    token = secrets.token_hex(16)
    with atomic_write(folder / _HOME, private=True) as file:
        file.write(token.encode())
    return token


def is_home(folder: Path, token: str) -> bool:
    """Return whether the folder has this token."""
    path = folder / _HOME
    return path.exists() and path.read_text("utf-8") == token


def rename_database(folder: Path, old: str, new: str) -> None:
    """Give a database another name, durably."""
    (folder / old).replace(folder / new)
    sync_folder(folder)


def is_away(folder: Path) -> bool:
    """Return whether the runs of a state folder are elsewhere, or on their way."""
    return any((folder / name).exists() for name in (LEAVING, ARRIVING, MOVED)) and not has_database(folder)


def check_at_home(folder: Path) -> None:
    """Raise StateError if the runs of a state folder are elsewhere, or on their way."""
    if not is_away(folder):
        return
    if (folder / LEAVING).exists():
        raise StateError(
            f"the runs of {folder} were being moved to {_read_note(folder)}: run `runner move` again to finish it"
        )
    if (folder / ARRIVING).exists():
        raise StateError(f"runs were being moved to {folder}: run `runner move --to local` again to finish it")
    raise StateError(
        f"the runs of {folder} have moved to {_read_note(folder)}: name that as `state` and `files` in "
        "runner.toml; then `runner move --to local` brings them back, if you want that"
    )


def check_nothing_left(folder: Path, place: str) -> None:
    """Raise StateError if a state folder has runs that were begun, and that the shared state does not know."""
    if (folder / LEAVING).exists() and not has_database(folder):
        check_at_home(folder)
    left = [run for run in list_runs(folder / DATABASE) if run.state not in ("preparing", "prepared")]
    if left:
        raise StateError(
            f"{folder}/{DATABASE} has {pluralize(len(left), 'run')} that {place} does not know, and what they "
            "have sent would be paid again: take them there with `runner move`, or use them without `state` in "
            "runner.toml"
        )
