"""The files that went through the Files API: the id that each got, for every run after."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from runner.durable import appending
from runner.errors import StateError


class _Uploaded(msgspec.Struct):
    mark: str
    file_id: str
    base_url: str
    workspace_id: str | None


@dataclass(frozen=True, slots=True)
class Uploads:
    """`files.jsonl` of the state folder: ids by the mark of the file's bytes, of one API and workspace."""

    path: Path
    base_url: str
    workspace_id: str | None

    def ids(self) -> dict[str, str]:
        """The newest id of each mark in this workspace. Raises StateError if the file is damaged."""
        here = (self.base_url, self.workspace_id)
        return {one.mark: one.file_id for one in self._all() if (one.base_url, one.workspace_id) == here}

    def marks(self) -> dict[str, str]:
        """The mark of each id, of whichever workspace. Raises StateError if the file is damaged."""
        return {one.file_id: one.mark for one in self._all()}

    def _all(self) -> Iterator[_Uploaded]:
        if not self.path.exists():
            return
        self._mend()
        for number, line in enumerate(self.path.read_bytes().splitlines(), 1):
            try:
                yield msgspec.json.decode(line, type=_Uploaded)
            except msgspec.DecodeError as error:
                raise StateError(f"{self.path}:{number}: is damaged: {error}; remove the line") from error

    def add(self, mark: str, file_id: str) -> None:
        """Record that a file was uploaded, for good."""
        one = _Uploaded(mark, file_id, self.base_url, self.workspace_id)
        with appending(self.path) as file:
            file.write(msgspec.json.encode(one) + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _mend(self) -> None:
        """Cut off a line that a process died on; its file is uploaded once more."""
        if self.path.exists():
            data = self.path.read_bytes()
            if not data.endswith(b"\n"):
                os.truncate(self.path, data.rfind(b"\n") + 1)
