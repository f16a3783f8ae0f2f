"""File type detection from content, because names can be wrong."""

import mimetypes

_MAGIC = (
    (b"%PDF-", "application/pdf"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"II+\x00", "image/tiff"),
    (b"MM\x00+", "image/tiff"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "image/jp2"),
)


_ZIP_BASED_TYPES = ("application/vnd.", "application/epub")


IMAGE_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")
"""Image types that the API accepts (platform.claude.com, vision, 2026-08)."""


CONVERTIBLE_TYPES = {
    "image/tiff": "TIFF",
    "image/bmp": "BMP",
    "image/heic": "HEIC",
    "image/avif": "AVIF",
    "image/jp2": "JPEG 2000",
}
"""Other image types that can be converted, with their names."""

# The brands of files that hold one image or several, but no video.
_BRANDS = {
    b"avif": "image/avif",
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"mif1"), "image/heic"),
}


_BMP_HEADER_SIZES = (12, 40, 52, 56, 64, 108, 124)


def detect_media_type(head: bytes, name: str = "") -> str:
    """Return the media type of a file from its first bytes; at most 4,096 are needed.

    The bytes do not distinguish the many kinds of text and archives, so for those the name decides. So it does for
    an empty file, which may be a document that was not written.
    """
    named = mimetypes.guess_type(name)[0] or ""
    if not head:
        return named or "text/plain"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return named if kind == "application/zip" and named.startswith(_ZIP_BASED_TYPES) else kind
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADER_SIZES:
        return "image/bmp"
    if head[4:8] == b"ftyp":
        return _detect_brand(head) or "application/octet-stream"
    if _is_pdf(head, named):
        return "application/pdf"
    if is_text(head):
        return named if named.startswith(("text/", "application/json", "application/xml")) else "text/plain"
    return "application/octet-stream"


def _detect_brand(head: bytes) -> str | None:
    """Return the image type of a file of boxes, whose first box holds its brand, a version, and more brands."""
    listed = head[: int.from_bytes(head[:4])]
    brands = [listed[at : at + 4] for at in (8, *range(16, len(listed), 4))]
    return next((kind for brand, kind in _BRANDS.items() if brand in brands), None)


def _is_pdf(head: bytes, named: str) -> bool:
    """Return whether a file is a PDF with other bytes before its header, and not a text about PDFs."""
    place = head[:1024].find(b"%PDF-")
    if place < 0:
        return False
    before = head[:place].removeprefix(b"\xef\xbb\xbf")
    return named == "application/pdf" or not before.strip() or not is_text(head)


def is_text(head: bytes) -> bool:
    """Return whether the first bytes of a file are UTF-8 text."""
    if b"\0" in head:
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # The last character may be cut off.
        return len(head) - error.start < 4 and error.reason == "unexpected end of data"
    return True
