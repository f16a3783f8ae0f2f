"""The files of one run: where each is, and pieces of them by offset."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from runner.durable import private_folder

_OPEN_FILES = 32


@dataclass(frozen=True, slots=True)
class RunFolder:
    """`runs/<run>/` of the state folder."""

    path: Path

    @property
    def spec(self) -> Path:
        """The recorded spec, templates and inputs, as JSON."""
        return self.path / "spec.json"

    @property
    def rows(self) -> Path:
        """The rows as read: `{"key": ..., "row": {...}}`, one per line, in order."""
        return self.path / "rows.jsonl"

    @property
    def attached(self) -> Path:
        """The files that rows attach, one object per line: see `attachments.Attached`."""
        return self.path / "attached.jsonl"

    @property
    def bodies(self) -> Path:
        """The folder of the exact bytes to POST, `<round>-<batch>.json`."""
        return self.path / "bodies"

    def body(self, round: int, batch: int) -> Path:
        """The body of one batch."""
        return self.bodies / f"{round}-{batch}.json"

    def results(self, round: int, batch: int) -> Path:
        """The exact bytes that came back for one batch; 0, 0 holds the rows that could not be sent."""
        return self.path / "results" / f"{round}-{batch}.jsonl"

    def sent(self, round: int, batch: int) -> Path:
        """Where it is marked that a body was about to be sent, for a database that has forgotten it."""
        return self.bodies / f"{round}-{batch}.sent"

    def noted(self, round: int, batch: int) -> Path:
        """Where the rows of a batch are noted that are about to be sent synchronously."""
        return self.bodies / f"{round}-{batch}.noted"

    def purge(self) -> None:
        """Remove what holds rows and answers; the record of the spec stays. Raises OSError."""
        self.rows.unlink(missing_ok=True)
        self.attached.unlink(missing_ok=True)
        for folder in (self.bodies, self.path / "results"):
            if folder.exists():
                shutil.rmtree(folder)

    def create(self) -> None:
        """Make the empty folders."""
        for folder in (self.path.parent, self.path, self.bodies, self.path / "results"):
            private_folder(folder)


@dataclass(slots=True)
class Pieces:
    """Reads pieces of many files where they lie, few files open at once; a map of them would count as memory."""

    descriptors: dict[Path, int] = field(default_factory=dict)

    def read(self, path: Path, offset: int, length: int) -> bytes:
        """`length` bytes of a file from `offset` on."""
        if path not in self.descriptors:
            if len(self.descriptors) >= _OPEN_FILES:
                os.close(self.descriptors.pop(next(iter(self.descriptors))))
            self.descriptors[path] = os.open(path, os.O_RDONLY)
        return os.pread(self.descriptors[path], length, offset)


@contextmanager
def pieces() -> Iterator[Pieces]:
    """A reader of pieces, whose files are closed at the end."""
    reader = Pieces()
    try:
        yield reader
    finally:
        for descriptor in reader.descriptors.values():
            os.close(descriptor)
