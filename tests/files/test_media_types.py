"""Media types of files, from their first bytes."""

import pytest

from runner.files.media_types import detect_media_type


@pytest.mark.parametrize(
    "before", [b"", b"\n", b" \r\n\t\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n", b"\0\1\xff" * 300]
)
def test_a_pdf_may_begin_after_other_bytes(before: bytes) -> None:
    assert detect_media_type(before + b"%PDF-1.7\n1 0 obj") == "application/pdf"


def test_a_text_that_mentions_a_pdf_header_is_text() -> None:
    assert detect_media_type(b"A file begins with %PDF-1.7") == "text/plain"
    assert detect_media_type(b"mail: %PDF-1.7", "a.pdf") == "application/pdf"
    assert detect_media_type(b"x" * 2000 + b"%PDF-1.7", "a.pdf") == "text/plain"
