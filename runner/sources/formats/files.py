"""Files source: one row per file of any kind, with its metadata but not its content."""

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from runner.files.media_types import detect_media_type
from runner.io_types.annotations import NonEmpty
from runner.sources.input_files import Inputs

_HEAD_BYTES = 4096


def read_files(inputs: Inputs, *, path: NonEmpty) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Read files of any kind: one row per file, with path, name, media_type, size and modified.

    `name` is without folders, `media_type` is detected from the content, `size` is in bytes, `modified` in UTC.

    Settings:
        path: Files, relative to the project root, or a URL; usually a glob (`*`, `**`). Each file is one row, in
            name order. `media_type` comes from its first bytes, whatever its name says: a text named `a.pdf` is
            text/plain. Only an empty file has the type of its name.
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
