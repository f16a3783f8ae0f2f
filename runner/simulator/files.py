"""Files API: the metadata of uploads is stored on disk; their bytes are only counted and hashed."""

import hashlib
import secrets
import time
from collections.abc import Collection, Iterator
from email import message_from_bytes
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec

from runner.files.atomic import open_for_append
from runner.simulator.messages import InvalidRequest
from runner.simulator.token_count import make_file_id


class SimulatedFiles:
    """Files of one folder; each upload and each deletion is a line of `files.jsonl`."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "files.jsonl"
        self._lock = Lock()
        lines = self._path.read_bytes().splitlines() if self._path.exists() else []
        self._files: dict[str, dict[str, Any]] = {}
        for line in lines:
            self._apply(msgspec.json.decode(line))

    def _apply(self, file: dict[str, Any]) -> None:
        if file["type"] == "file_deleted":
            self._files.pop(file["id"], None)
        else:
            self._files[file["id"]] = file

    def _append_record(self, file: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            with open_for_append(self._path) as log:
                log.write(msgspec.json.encode(file) + b"\n")
            self._apply(file)
        return _public_fields(file)

    def add_file(self, content_type: str, body: bytes) -> dict[str, Any]:
        """Store the file of a multipart form, and return its metadata. Raises InvalidRequest if it has no file."""
        form = message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
        parts: Any = form.get_payload() if form.is_multipart() else []
        part: Any = next((one for one in parts if 'name="file"' in str(one["content-disposition"])), None)
        if part is None:
            raise InvalidRequest("file: Field required")
        data = part.get_payload(decode=True) or b""
        return self._append_record(
            {
                "id": make_file_id(data, secrets.token_hex(12)),
                "type": "file",
                "filename": part.get_filename() or "unnamed",
                "mime_type": part.get_content_type(),
                "size_bytes": len(data),
                "created_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "downloadable": False,
                "expires_at": None,
                "sha256": hashlib.sha256(data).hexdigest(),
            }
        )

    def find_files(self, ids: Collection[str]) -> Iterator[dict[str, Any]]:
        """Yield the metadata of the files with these ids, newest first; without ids, of all files."""
        for file in reversed(list(self._files.values())):
            if not ids or file["id"] in ids:
                yield _public_fields(file)

    def delete_file(self, file_id: str) -> dict[str, Any] | None:
        """Delete a file; return None if it does not exist."""
        return self._append_record({"id": file_id, "type": "file_deleted"}) if file_id in self._files else None


def _public_fields(file: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a file that the API shows."""
    return {name: value for name, value in file.items() if name != "sha256"}
