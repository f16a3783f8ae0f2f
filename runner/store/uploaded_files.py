"""Ids of files uploaded through the Files API, kept for later runs."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from runner.errors import StateError
from runner.files.atomic import open_for_append


class _Uploaded(msgspec.Struct):
    mark: str
    file_id: str
    base_url: str
    workspace_id: str | None


@dataclass(frozen=True, slots=True)
class UploadedFiles:
    """The uploads to one API and workspace: ids by mark, in `files.jsonl` of the state folder."""

    path: Path
    base_url: str
    workspace_id: str | None

    def ids_by_mark(self) -> dict[str, str]:
        """Return the newest id of each mark in this workspace. Raises StateError if the file is damaged."""
        here = (self.base_url, self.workspace_id)
        return {one.mark: one.file_id for one in self._read_all() if (one.base_url, one.workspace_id) == here}

    def marks_by_id(self) -> dict[str, str]:
        """Return the mark of each id in any workspace. Raises StateError if the file is damaged."""
        return {one.file_id: one.mark for one in self._read_all()}

    def _read_all(self) -> Iterator[_Uploaded]:
        if not self.path.exists():
            return
        self._truncate_torn_line()
        for number, line in enumerate(self.path.read_bytes().splitlines(), 1):
            try:
                yield msgspec.json.decode(line, type=_Uploaded)
            except msgspec.DecodeError as error:
                raise StateError(f"{self.path}:{number}: damaged line: {error}; remove it") from error

    def add(self, mark: str, file_id: str) -> None:
        """Record durably that a file was uploaded."""
        one = _Uploaded(mark, file_id, self.base_url, self.workspace_id)
        with open_for_append(self.path) as file:
            file.write(msgspec.json.encode(one) + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _truncate_torn_line(self) -> None:
        """Cut off an incomplete last line, left by a killed process; its file is uploaded again."""
        if self.path.exists():
            data = self.path.read_bytes()
            if not data.endswith(b"\n"):
                os.truncate(self.path, data.rfind(b"\n") + 1)
