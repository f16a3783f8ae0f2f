"""Paths of a run's files, and reads by byte offset."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from runner.files.atomic import make_private_folder
from runner.requests.stored_params import Params, restore_params

_MAX_OPEN_FILES = 32


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run: `runs/<run>/` in the state folder."""

    path: Path

    @property
    def spec(self) -> Path:
        """The snapshot of the spec, its templates and inputs, as JSON."""
        return self.path / "spec.json"

    @property
    def rows(self) -> Path:
        """The rows as read: `{"key": ..., "row": {...}}`, one per line, in order."""
        return self.path / "rows.jsonl"

    @property
    def attachments(self) -> Path:
        """The files that rows attach, one object per line: see `attachments.AttachedFile`."""
        return self.path / "attached.jsonl"

    @property
    def labels(self) -> Path:
        """The labels of the spec when the run was last started, as JSON; it is missing if there were never any."""
        return self.path / "labels.json"

    @property
    def bodies(self) -> Path:
        """The folder of the exact bytes to POST, `<round>-<batch>.json`."""
        return self.path / "bodies"

    def body(self, round: int, batch: int) -> Path:
        """Return the path of a batch's body."""
        return self.bodies / f"{round}-{batch}.json"

    def results(self, round: int, batch: int) -> Path:
        """Return the path of a batch's results, byte for byte; 0, 0 holds the rows that were not sent."""
        return self.path / "results" / f"{round}-{batch}.jsonl"

    def intent_marker(self, round: int, batch: int) -> Path:
        """Return the path of the mark that a body was about to be sent, in case the database is lost."""
        return self.bodies / f"{round}-{batch}.sent"

    def sync_journal(self, round: int, batch: int) -> Path:
        """Return the path of the list of rows that are about to be sent synchronously."""
        return self.bodies / f"{round}-{batch}.noted"

    @property
    def indexes(self) -> Path:
        """The folder of the index files: see `index_files`."""
        return self.path / "index"

    def purge(self) -> None:
        """Delete the files that hold rows and answers, and keep the spec snapshot. Raises OSError."""
        self.rows.unlink(missing_ok=True)
        self.attachments.unlink(missing_ok=True)
        for folder in (self.bodies, self.path / "results", self.indexes):
            if folder.exists():
                shutil.rmtree(folder)

    def create(self) -> None:
        """Create the empty folders."""
        for folder in (self.path.parent, self.path, self.bodies, self.path / "results", self.indexes):
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
