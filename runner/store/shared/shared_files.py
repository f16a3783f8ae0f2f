"""The files of runs in an object store, of which the state folder keeps copies.

A file is written to the state folder first, and is uploaded before the transaction that mentions it commits. For
another process only what was uploaded is there: a copy counts if it is of the object's current version.
"""

import os
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from runner.files.atomic import atomic_write, make_private_folder, open_for_append
from runner.files.object_store import ObjectStore, StoredFile

_UPLOADS = 4
_COPIES = ".copies"
"""The file in the folder of a run that says which version of which object each copy is."""


class SharedFiles:
    """The files of one state.

    `is_ours` tells by the id of a run, None for files of no run, that no other process changes its files. Then
    they are listed once.
    """

    def __init__(
        self,
        objects: ObjectStore,
        folder: Path,
        *,
        is_ours: Callable[[str | None], bool],
        check_lock: Callable[[], None],
    ) -> None:
        self.url = objects.url
        self._objects, self._folder, self._is_ours, self._check_lock = objects, folder, is_ours, check_lock
        self._listed: dict[str, dict[str, StoredFile]] = {}
        self._notes: dict[str, set[bytes]] = {}
        # Files that this process has written or compared with their objects, and those of them to upload.
        self._current: set[Path] = set()
        self._pending: set[Path] = set()

    def fetch(self, path: Path) -> Path:
        """Return a path, with its file there if the store has it."""
        if path in self._current:
            return path
        stored = self._find(path)
        if stored is None and self._is_ours(_run_of(self._group(path))):
            # A process wrote it, and was killed before it had uploaded it. This one may append to it.
            path.unlink(missing_ok=True)
            make_private_folder(path.parent)
        if stored is None:
            return path
        if not self._is_copy(path, stored):
            make_private_folder(path.parent)
            stored = self._objects.download(self._name(path), path)
            self._note_copy(path, stored, path.stat())
        self._current.add(path)
        return path

    def forget_others(self) -> None:
        """Forget what is known of the files that another process may have changed meanwhile."""
        for group in [group for group in self._listed if not self._is_ours(_run_of(group))]:
            del self._listed[group]
        self._current = {path for path in self._current if self._is_ours(_run_of(self._group(path)))}

    def exists(self, path: Path) -> bool:
        """Return whether a file is there, without fetching it."""
        return path.exists() if path in self._current else self._find(path) is not None

    def begin_write(self, path: Path) -> Path:
        """Return the path of a file that is about to be written, and is uploaded before a commit once it is."""
        if path not in self._current:
            make_private_folder(path.parent)
            path.unlink(missing_ok=True)
        self.note_written(path)
        return path

    def note_written(self, path: Path) -> None:
        """Note that a file was written, so that it is uploaded before the next commit."""
        self._current.add(path)
        self._pending.add(path)

    def upload_pending(self) -> None:
        """Upload the files that were written since the last time. Raises StateError, also if the lock is lost."""
        # One that is still written has another name.
        written = {path for path in self._pending if path.exists()}
        ready = sorted(path for path in written if not self._is_uploaded(path))
        self._pending -= written.difference(ready)
        if not ready:
            return
        self._check_lock()
        if len(ready) == 1:
            self._upload(ready[0])
        else:
            with ThreadPoolExecutor(_UPLOADS) as pool:
                for _ in pool.map(self._upload, ready):
                    self._check_lock()
        self._pending.difference_update(ready)

    def _upload(self, path: Path) -> None:
        found = path.stat()
        self._note_copy(path, self._objects.upload(self._name(path), path), found)

    def create(self, path: Path, data: bytes) -> bool:
        """Write a file that is not there yet, at once; return whether it was not there."""
        stored = self._objects.create(self._name(path), data)
        if stored is None:
            # Another process created it since the run was listed.
            self._listed.pop(self._group(path), None)
            return False
        make_private_folder(path.parent)
        with atomic_write(path, private=True) as file:
            file.write(data)
        self._current.add(path)
        self._note_copy(path, stored, path.stat())
        return True

    def remove(self, path: Path) -> None:
        """Delete a file, which may be missing, everywhere."""
        if self._find(path) is not None:
            self._objects.delete(self._name(path))
            self._listed.get(self._group(path), {}).pop(self._below(path), None)
        path.unlink(missing_ok=True)
        self._current.discard(path)
        self._pending.discard(path)

    def remove_run(self, run_folder: Path, *, keep: Collection[str] = ()) -> None:
        """Delete the objects of a run but those to keep, by their names in its folder."""
        self._objects.delete_folder(self._name(run_folder), keep=keep)
        self._listed.pop(self._group(run_folder), None)
        gone = {path for path in self._current | self._pending if run_folder in path.parents}
        self._current -= gone
        self._pending -= gone

    def list_runs(self) -> list[str]:
        """Return the ids of the runs that have objects."""
        return self._objects.list_folders("runs")

    def list_run(self, run_id: str) -> dict[str, StoredFile]:
        """Return the objects of a run as they are now, by their names in its folder."""
        return self._objects.list_files(f"runs/{run_id}")

    def describe_deletion(self, run_id: str) -> str:
        """Return how a person deletes the objects of a run that the database does not have."""
        return self._objects.describe_deletion(f"runs/{run_id}")

    def find_sent_runs(self, known: Collection[str]) -> Iterator[str]:
        """Yield the ids of the runs that are not among the known ones, and of which something was sent."""
        for run in sorted(set(self.list_runs()) - set(known)):
            if any(name.endswith((".sent", ".noted")) for name in self.list_run(run)):
                yield run

    def _name(self, path: Path) -> str:
        return path.relative_to(self._folder).as_posix()

    def _group(self, path: Path) -> str:
        """Return the name of what is listed at once: the folder of a run, or a file beside `runs/`."""
        return "/".join(self._name(path).split("/")[:2])

    def _below(self, path: Path) -> str:
        return self._name(path).removeprefix(f"{self._group(path)}/")

    def _find(self, path: Path) -> StoredFile | None:
        """Return the object of a file, or None if there is none."""
        group, below = self._group(path), self._below(path)
        found = self._listed.get(group, {}).get(below)
        if group not in self._listed or (found is None and not self._is_ours(_run_of(group))):
            self._listed[group] = self._list(group)
        return self._listed[group].get(below)

    def _list(self, group: str) -> dict[str, StoredFile]:
        if group.startswith("runs/"):
            return self._objects.list_files(group)
        stored = self._objects.find(group)
        return {} if stored is None else {group: stored}

    def _is_uploaded(self, path: Path) -> bool:
        stored = self._listed.get(self._group(path), {}).get(self._below(path))
        return stored is not None and self._is_copy(path, stored)

    def _is_copy(self, path: Path, stored: StoredFile) -> bool:
        """Return whether a file on this machine is a copy of the current version of an object."""
        return path.exists() and self._describe(path, stored, path.stat()) in self._read_notes(self._group(path))

    def _note_copy(self, path: Path, stored: StoredFile, found: os.stat_result) -> None:
        """Note that a file on this machine, as it was found, is a copy of an object."""
        group, line = self._group(path), self._describe(path, stored, found)
        if group in self._listed:
            self._listed[group][self._below(path)] = stored
        self._read_notes(group).add(line)
        if group.startswith("runs/"):
            with open_for_append(self._folder / group / _COPIES) as log:
                log.write(line + b"\n")

    def _read_notes(self, group: str) -> set[bytes]:
        """Return the lines about copies that this and earlier processes have noted."""
        if group not in self._notes:
            log = self._folder / group / _COPIES
            self._notes[group] = set(log.read_bytes().splitlines()) if log.exists() else set()
        return self._notes[group]

    def _describe(self, path: Path, stored: StoredFile, found: os.stat_result) -> bytes:
        """Return a line that no longer fits once the file on this machine is changed, or the object."""
        own = (found.st_size, found.st_mtime_ns, found.st_ino)
        return msgspec.json.encode((self._below(path), stored.version, *own))


def _run_of(group: str) -> str | None:
    """Return the id of the run whose files are listed under this name, or None for files of no run."""
    kind, _, name = group.partition("/")
    return name if kind == "runs" else None
