"""PDFs that the API would not take reject their row."""

import hashlib
from pathlib import Path

import pypdfium2
import pytest

from tests.support.files import pdf
from tests.support.prompts import PATH_BLOCK, blocks_problem, encode_blocks

# From the PDF specification: what a password is filled up with, so all of an empty one.
PADDING = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")


def rc4(key: bytes, data: bytes) -> bytes:
    """Data that is encrypted as PDFs of version 1.4 are."""
    state, j = list(range(256)), 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    i = j = 0
    made = bytearray()
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        made.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(made)


def encrypted(user_key: bytes) -> bytes:
    """A PDF whose trailer says that it is encrypted, with this proof of the password that opens it."""
    secret = b"/Encrypt << /Filter /Standard /V 1 /R 2 /O (%b) /U <%b> /P -4 >> /ID [(a) (a)] "
    filled = secret % (b"o" * 32, user_key.hex().encode())
    return pdf().replace(b"trailer\n<< ", b"trailer\n<< " + filled)


def test_a_pdf_that_needs_a_password_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(encrypted(b"u" * 32))
    with pytest.raises(pypdfium2.PdfiumError, match="password"):
        pypdfium2.PdfDocument(tmp_path / "a")
    assert blocks_problem(tmp_path, PATH_BLOCK, path="a").startswith("a needs a password: save it without one")


def test_encrypted_pdf_that_opens_without_password_is_rejected(tmp_path: Path) -> None:
    key = hashlib.md5(PADDING + b"o" * 32 + (-4).to_bytes(4, "little", signed=True) + b"a").digest()[:5]  # noqa: S324
    (tmp_path / "a").write_bytes(encrypted(rc4(key, PADDING)))
    with pypdfium2.PdfDocument(tmp_path / "a") as document:
        assert len(document) == 1
    assert blocks_problem(tmp_path, PATH_BLOCK, path="a").startswith("a is encrypted, although it opens without")


def test_pdf_without_pages_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(pdf(0))
    assert blocks_problem(tmp_path, PATH_BLOCK, path="a").endswith("it is damaged, or has no pages")


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_pdf_that_is_cut_is_rejected(tmp_path: Path, share: float) -> None:
    data = pdf(5, size=20_000)
    (tmp_path / "a").write_bytes(data[: int(len(data) * share)])
    assert blocks_problem(tmp_path, PATH_BLOCK, path="a").startswith("a is no PDF that can be read")


def test_pdf_with_bytes_around_it_is_sent(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"\r\n" + pdf(3) + b"\0garbage\n" * 30)
    assert encode_blocks(tmp_path, PATH_BLOCK, path="a.pdf").problem is None
