"""Files source: one row per file of any kind, with its metadata but not its content."""

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from runner.files.media_types import detect_media_type
from runner.sources.input_files import Inputs

_HEAD_BYTES = 4096


def read_files(inputs: Inputs, *, path: str) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Yield one row per file.

    Its fields are `path`, `name` without folders, `media_type` detected from the content, `size` in bytes, and
    `modified` in UTC.
    """
    for name, head, size, modified in inputs.read_heads(path, _HEAD_BYTES):
        fields = {
            "path": name,
            "name": PurePath(name).name,
            "media_type": detect_media_type(head, name),
            "size": size,
            "modified": modified,
        }
        yield name, 1, fields
