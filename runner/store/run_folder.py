"""Paths of a run's files, and reads by byte offset."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from runner.files.atomic import atomic_write, make_private_folder
from runner.requests.stored_params import Params, restore_params
from runner.store.shared.shared_files import SharedFiles

_MAX_OPEN_FILES = 32
_KEPT_BY_PURGE = ("spec.json", "labels.json")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run: `runs/<run>/` in the state folder.

    If the files of runs are in an object store, it holds copies of them. A path then has its file, which is
    fetched if it must be; those of `to_write` are for files that are about to be written.
    """

    path: Path
    shared: SharedFiles | None = None
    is_to_write: bool = False

    @property
    def to_write(self) -> "RunFolder":
        """The same folder for writing: each of its paths that was asked for is uploaded before a commit."""
        return replace(self, is_to_write=True)

    def _file(self, name: str) -> Path:
        path = self.path / name
        if self.shared is None:
            return path
        return self.shared.begin_write(path) if self.is_to_write else self.shared.fetch(path)

    @property
    def spec(self) -> Path:
        """The snapshot of the spec, its templates and inputs, as JSON."""
        return self._file("spec.json")

    @property
    def rows(self) -> Path:
        """The rows as read: `{"key": ..., "row": {...}}`, one per line, in order."""
        return self._file("rows.jsonl")

    @property
    def attachments(self) -> Path:
        """The files that rows attach, one object per line: see `attachments.AttachedFile`."""
        return self._file("attached.jsonl")

    @property
    def labels(self) -> Path:
        """The labels of the spec when the run was last started, as JSON; it is missing if there were never any."""
        return self._file("labels.json")

    @property
    def bodies(self) -> Path:
        """The folder of the exact bytes to POST, `<round>-<batch>.json`; each is uploaded once it is recorded."""
        path = self.path / "bodies"
        if self.shared is not None:
            make_private_folder(path)
        return path

    def body(self, round: int, batch: int) -> Path:
        """Return the path of a batch's body."""
        return self._file(f"bodies/{round}-{batch}.json")

    def results(self, round: int, batch: int) -> Path:
        """Return the path of a batch's results, byte for byte; 0, 0 holds the rows that were not sent."""
        return self._file(f"results/{round}-{batch}.jsonl")

    def intent_marker(self, round: int, batch: int) -> Path:
        """Return the path of the mark that a body was about to be sent, in case the database is lost."""
        return self._file(f"bodies/{round}-{batch}.sent")

    def sync_journal(self, round: int, batch: int) -> Path:
        """Return the path of the list of rows that are about to be sent synchronously."""
        return self._file(f"bodies/{round}-{batch}.noted")

    def create_intent(self, round: int, batch: int, intent: bytes) -> bool:
        """Write the mark that a body is about to be sent; return False if another process has done so."""
        path = self.path / f"bodies/{round}-{batch}.sent"
        if self.shared is not None:
            return self.shared.create(path, intent)
        with atomic_write(path, private=True) as file:
            file.write(intent)
        return True

    def remove_intent(self, round: int, batch: int) -> None:
        """Delete the mark that a body was about to be sent, if there is one."""
        path = self.path / f"bodies/{round}-{batch}.sent"
        if self.shared is not None:
            self.shared.remove(path)
        path.unlink(missing_ok=True)

    def save(self, *paths: Path) -> None:
        """Make files durable to which was appended, wherever the files of runs are."""
        if self.shared is not None:
            for path in paths:
                self.shared.note_written(path)
            self.shared.upload_pending()

    def index(self, name: str) -> Path:
        """Return the path of an index file: see `index_files`."""
        return self._file(f"index/{name}")

    def purge(self) -> None:
        """Delete the files that hold rows and answers, and keep the spec snapshot. Raises OSError, StateError."""
        if self.shared is not None:
            self.shared.remove_run(self.path, keep=_KEPT_BY_PURGE)
        self.delete_copies()

    def delete_copies(self) -> None:
        """Delete the rows and answers that are on this machine: another one may have purged the run."""
        (self.path / "rows.jsonl").unlink(missing_ok=True)
        (self.path / "attached.jsonl").unlink(missing_ok=True)
        for folder in (self.bodies, self.path / "results", self.path / "index"):
            if folder.exists():
                shutil.rmtree(folder)

    def delete(self) -> None:
        """Delete all files. Raises StateError if they are in an object store that cannot be reached."""
        if self.shared is not None:
            self.shared.remove_run(self.path)
        shutil.rmtree(self.path, ignore_errors=True)

    def create(self) -> None:
        """Create the empty folders."""
        for folder in (self.path.parent, self.path, self.bodies, self.path / "results", self.path / "index"):
            make_private_folder(folder)


@dataclass(slots=True)
class FileSlices:
    """A reader of byte ranges in many files, of which at most 32 are open at once.

    It does not map the files: a map would count as memory of the process.
    """

    descriptors: dict[Path, int] = field(default_factory=dict)

    def read(self, path: Path, offset: int, length: int) -> bytes:
        """Return at most `length` bytes of a file, starting at `offset`."""
        if path not in self.descriptors:
            if len(self.descriptors) >= _MAX_OPEN_FILES:
                os.close(self.descriptors.pop(next(iter(self.descriptors))))
            self.descriptors[path] = os.open(path, os.O_RDONLY)
        return os.pread(self.descriptors[path], length, offset)


@dataclass(frozen=True, slots=True)
class BodyReader:
    """A reader of the params in the bodies of a run; `root` is the folder of the spec that files belong to."""

    folder: RunFolder
    root: Path
    slices: FileSlices

    def read(self, round: int, batch: int, offset: int, length: int) -> Params:
        """Return the params at a place in a body. Raises OSError, and the errors of `restore_params`."""
        return restore_params(self.slices.read(self.folder.body(round, batch), offset, length), self.root)


@contextmanager
def open_slices() -> Iterator[FileSlices]:
    """Yield a reader of byte ranges, and close its files at the end."""
    reader = FileSlices()
    try:
        yield reader
    finally:
        for descriptor in reader.descriptors.values():
            os.close(descriptor)


@contextmanager
def open_bodies(folder: RunFolder, root: Path) -> Iterator[BodyReader]:
    """Yield a reader of the bodies of a run, and close its files at the end."""
    with open_slices() as slices:
        yield BodyReader(folder, root, slices)
