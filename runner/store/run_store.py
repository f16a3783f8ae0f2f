"""The lock, the transactions and the files of a state, and its runs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.errors import StateError
from runner.files.object_store import ObjectStore
from runner.store.connection import Connection, scope_of
from runner.store.database import RECOVER
from runner.store.lock import HeldLock, SendGuard, guard_sending
from runner.store.records import Run, list_columns, read_record
from runner.store.run_folder import RunFolder
from runner.store.run_ids import new_run_id
from runner.store.shared.lease import Leases
from runner.store.shared.shared_files import SharedFiles

_COLUMNS = list_columns(Run)


class RunStore:
    """The runs of a project, in a state that this process may have locked.

    `objects` has the files of runs if machines share them.
    """

    def __init__(
        self, folder: Path, connection: Connection, lock: HeldLock | Leases | None, objects: ObjectStore | None
    ) -> None:
        self.path = folder
        self._db = connection
        self._lock = lock
        self.shared: SharedFiles | None = None
        if objects is not None:
            self.shared = SharedFiles(objects, folder, is_ours=self._is_ours, check_lock=self._check_upload)

    @property
    def fresh_start(self) -> str:
        """The way to begin with an empty state in the place of this one, for messages."""
        return "move .runner away" if self.shared is None else "name another `project`"

    @property
    def remedy(self) -> str:
        """The way to rebuild a state that is damaged or lost, for messages."""
        return f"{self.fresh_start} and {RECOVER}"

    def check_lock(self) -> None:
        """Raise StateLocked if another process has taken over the lock of this state."""
        if self._lock is not None:
            self._lock.check()

    def _check_upload(self) -> None:
        """Raise StateLocked as `check_lock` does, and show the database that this process is at work."""
        self.check_lock()
        if self._db.project is not None:
            self._db.execute("SELECT 1")

    def hold(self, spec: str) -> None:
        """Keep other runners away from a spec until the store is closed. Raises StateLocked.

        A state folder is locked as a whole.
        """
        if isinstance(self._lock, Leases) and not self._lock.holds(spec):
            # Another machine may have gone on with its runs since they were looked at.
            if self.shared is not None:
                self.shared.forget_others()
            self._lock.hold(spec)

    def _holds(self, run: Run) -> bool:
        return self._lock.holds(run.spec) if isinstance(self._lock, Leases) else self._lock is not None

    def _is_ours(self, run_id: str | None) -> bool:
        """Return whether no other process changes the files of a run, or those of no run."""
        if not isinstance(self._lock, Leases):
            return self._lock is not None
        found = self._db.execute("SELECT spec FROM run WHERE id = ?", (run_id,)).fetchone()
        return found is not None and self._lock.holds(found[0])

    def guard_sending(self) -> SendGuard:
        """Return a guard for a body that is about to be sent."""
        return guard_sending(self._lock)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all writes inside the block together at its end, or none of them."""
        try:
            with self._db.transaction():
                yield
                self.upload_pending()
        except StateError:
            # A database breaks off who was suspended: then another runner may have taken over.
            self.check_lock()
            raise

    def folder(self, run: Run) -> RunFolder:
        """Return the folder of a run."""
        return self.folder_of(run.id)

    def folder_of(self, run_id: str) -> RunFolder:
        """Return the folder of the run with this id."""
        return RunFolder(self.path / "runs" / run_id, self.shared)

    def upload_pending(self) -> None:
        """Upload the files that were written, so that other machines have what the state is about to mention."""
        if self.shared is not None:
            self.shared.upload_pending()

    @property
    def uploads(self) -> Path:
        """The list of the files that were uploaded through the Files API; the next commit keeps what is added."""
        path = self.path / "files.jsonl"
        if self.shared is not None:
            self.shared.note_written(self.shared.fetch(path))
        return path

    def runs(self, spec: str | None = None) -> list[Run]:
        """Return all runs, or the runs of the spec with this name, newest first."""
        wanted = scope_of(self._db) | ({} if spec is None else {"spec": spec})
        where = " AND ".join(f"{name} = ?" for name in wanted)
        query = f"SELECT {_COLUMNS} FROM run {where and 'WHERE'} {where} ORDER BY number DESC"
        rows = self._db.execute(query, tuple(wanted.values()))
        return [read_record(Run, row) for row in rows]

    def list_other_projects(self) -> list[str]:
        """Return the other projects of a database that projects share, the first ten by name."""
        found = self._db.execute("SELECT DISTINCT project FROM run ORDER BY project LIMIT 11").fetchall()
        return [name for (name,) in found if name != self._db.project][:10]

    def find_other_project(self, run_id: str) -> str | None:
        """Return the name of another project of a shared database that has a run, or None."""
        if self._db.project is None:
            return None
        query = "SELECT project FROM run WHERE id = ? AND project <> ?"
        found = self._db.execute(query, (run_id, self._db.project)).fetchone()
        return None if found is None else str(found[0])

    def create_run(
        self,
        *,
        spec: str,
        spec_path: str,
        fingerprint: str,
        origin: str,
        run_id: str | None = None,
        is_pilot: bool = False,
    ) -> Run:
        """Record a run in the state `preparing`, and create its empty folder.

        The new id encodes `origin`, a digest. A run with a given `run_id` counts as recovered from the start.
        """
        values = scope_of(self._db) | {
            "id": run_id or new_run_id(origin),
            "spec": spec,
            "spec_path": spec_path,
            "fingerprint": fingerprint,
            "state": "preparing",
            "created_at": time.time(),
            "recovered_at": None if run_id is None else time.time(),
            "is_pilot": is_pilot,
        }
        marks = ", ".join("?" * len(values))
        self._db.execute(f"INSERT INTO run ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))
        run = self.runs(spec)[0]
        self.folder(run).create()
        return run

    def update_run(self, run: Run, **columns: Any) -> Run:
        """Change columns of a run."""
        names = ", ".join(f"{name} = ?" for name in columns)
        self._db.execute(f"UPDATE run SET {names} WHERE number = ?", (*columns.values(), run.number))
        return replace(run, **columns)

    def previous_runs(self, run: Run) -> Iterator[Run]:
        """Return the other runs of the same spec, newest first."""
        return (other for other in self.runs(run.spec) if other.id != run.id)
