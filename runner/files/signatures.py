"""Files that are not what their name or the spec says, recognised by their first bytes."""

from typing import Any, BinaryIO

_HEAD_BYTES = 4096

_COMPRESSED = {b"\x1f\x8b": ".gz", b"BZh": ".bz2", b"\xfd7zXZ\x00": ".xz", b"\x28\xb5\x2f\xfd": ".zst"}
_OTHERS = {
    b"PAR1": "is a Parquet file: use `type: parquet`",
    b"SQLite format 3\0": "is an SQLite database: use `type: sql`",
    b"%PDF-": "is a PDF: use `type: files`, and a document in the prompt",
    b"\xd0\xcf\x11\xe0": "is an old Office document, or one with a password: use `type: xlsx` for a workbook",
    b"PK\x05\x06": "is an empty zip archive",
}
_ENCODINGS = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
"""Text encodings by their byte order mark, the longer ones first."""


def peek(stream: BinaryIO) -> bytes:
    """Return the first bytes of a buffered stream without consuming them."""
    buffered: Any = stream
    return bytes(buffered.peek(_HEAD_BYTES)[:_HEAD_BYTES])


def describe_binary(name: str, head: bytes) -> str | None:
    """Return what a file is that a source reads as text, with the remedy; None if it may be text."""
    for magic, suffix in _COMPRESSED.items():
        if head.startswith(magic):
            how = "decompress it first" if name == "-" else f"add {suffix} to its name"
            return f"is compressed, but its name does not say so: {how}"
    if head.startswith(b"PK\x03\x04"):
        is_workbook = b"[Content_Types].xml" in head or b"xl/" in head
        return "is a workbook: use `type: xlsx`" if is_workbook else "is a zip archive: unpack it first"
    return next((about for magic, about in _OTHERS.items() if head.startswith(magic)), None)


def find_encoding(head: bytes) -> str | None:
    """Return the text encoding that a byte order mark other than that of UTF-8 names, or None."""
    return next((name for mark, name in _ENCODINGS.items() if head.startswith(mark)), None)
