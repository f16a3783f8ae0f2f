"""Files of any kind as sources, one row for each."""

import os
from pathlib import Path

from tests.support.sources import read_fields

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 16


def test_media_type_comes_from_bytes_not_names(tmp_path: Path) -> None:
    contents = {
        "a.txt": b"%PDF-1.7", "b.pdf": PNG, "c.jpg": b"RIFF\0\0\0\0WEBPVP8 ", "d": "é".encode() * 9000,
        "e.csv": b"a,b\n", "f.bin": b"\0\1\2", "g": b"", "h.pdf": b"",
    }  # fmt: skip
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
        os.utime(tmp_path / name, (1.5, 1.5))
    found = read_fields(tmp_path, "files", "*")
    assert {row["path"]: row["media_type"] for row in found} == {
        "a.txt": "application/pdf", "b.pdf": "image/png", "c.jpg": "image/webp", "d": "text/plain",
        "e.csv": "text/csv", "f.bin": "application/octet-stream", "g": "text/plain", "h.pdf": "application/pdf",
    }  # fmt: skip
    assert found[0] == {
        "path": "a.txt", "name": "a.txt", "media_type": "application/pdf", "size": 8,
        "modified": "1970-01-01T00:00:01+00:00",
    }  # fmt: skip
