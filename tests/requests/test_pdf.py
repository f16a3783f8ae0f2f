"""PDFs: those that the API would not take reject their row, and `pages` selects pages of the others."""

import base64
import hashlib
import io
from pathlib import Path

import pypdfium2
import pytest

from tests.support.files import pdf
from tests.support.processes import outputs_by_zone
from tests.support.prompts import PATH_BLOCK, blocks_problem, encode_blocks, sent_blocks

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


def numbered(count: int) -> bytes:
    """A PDF whose pages have different sizes: page N is 100 + N points wide."""
    made, written = pypdfium2.PdfDocument.new(), io.BytesIO()
    for number in range(1, count + 1):
        made.new_page(100 + number, 100)
    made.save(written)
    made.close()
    return written.getvalue()


def sent_pages(root: Path, pages: str | int, **row: str) -> list[int]:
    """The numbers of the pages of a PDF that are sent."""
    block = {**PATH_BLOCK, "path": "a.pdf", "pages": pages}
    data = base64.b64decode(sent_blocks(root, block, **row)[0]["source"]["data"])
    with pypdfium2.PdfDocument(data) as document:
        return [round(document.get_page_size(index)[0]) - 100 for index in range(len(document))]


@pytest.mark.parametrize(
    ("pages", "sent"),
    [
        ("1-3", [1, 2, 3]),
        (3, [3]),
        ("5-", [5, 6]),
        ("5-20", [5, 6]),
        ("1,3-4", [1, 3, 4]),
        ("4, 2", [4, 2]),
        ("{{ n }}", [2]),
    ],
)
def test_selected_pages_are_sent_in_the_order_written(tmp_path: Path, pages: str | int, sent: list[int]) -> None:
    (tmp_path / "a.pdf").write_bytes(numbered(6))
    assert sent_pages(tmp_path, pages, n="2") == sent
    in_base64 = {"type": "document", "base64": base64.b64encode(numbered(6)).decode(), "pages": pages}
    by_path = {**PATH_BLOCK, "path": "a.pdf", "pages": pages}
    assert sent_blocks(tmp_path, in_base64, n="2") == sent_blocks(tmp_path, by_path, n="2")


@pytest.mark.parametrize(
    ("pages", "problem"),
    [
        ("1,7", "a.pdf: it has 6 pages, and `pages: 1,7` selects page 7"),
        ("7-9", "a.pdf: it has 6 pages, and `pages: 7-9` selects page 7"),
        ("7-", "a.pdf: it has 6 pages, and `pages: 7-` selects page 7"),
        ("{{ n }}", "a.pdf: `pages: all` selects no pages: write it as 3, 1-20, 5- or 1,3-4"),
    ],
)
def test_pages_that_a_pdf_does_not_have_reject_its_row(tmp_path: Path, pages: str, problem: str) -> None:
    (tmp_path / "a.pdf").write_bytes(numbered(6))
    assert blocks_problem(tmp_path, {**PATH_BLOCK, "pages": pages}, path="a.pdf", n="all") == problem


def test_pages_of_a_text_reject_its_row(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one page")
    problem = blocks_problem(tmp_path, {**PATH_BLOCK, "pages": "1"}, path="a.txt")
    assert problem.startswith("a.txt is text/plain, and `pages` selects pages of a PDF")


def form(value: bytes) -> bytes:
    """A PDF of two pages, the first with a form that is filled in."""
    fields = b"/AcroForm << /Fields [9 0 R] /DR << /Font << /F1 3 0 R >> >> /DA (/F1 12 Tf 0 g) >>"
    field = b"<< /Type /Annot /Subtype /Widget /FT /Tx /T (name) /V (%b) /Rect [20 20 200 60] /F 4 >>"
    made = pdf(2, text="").replace(b"/Pages 2 0 R", b"/Pages 2 0 R " + fields, 1)
    made = made.replace(b"/MediaBox", b"/Annots [9 0 R] /MediaBox", 1)
    # PDFium finds the objects itself if the table of their places is wrong.
    return made.replace(b"xref", b"9 0 obj\n%b\nendobj\nxref" % (field % value), 1).replace(
        b"/Size 7", b"/Size 10"
    )


def test_selected_pages_keep_what_is_filled_in(tmp_path: Path) -> None:
    inked = {}
    for value in (b"", b"HELLO"):
        (tmp_path / "a.pdf").write_bytes(form(value))
        block = {**PATH_BLOCK, "path": "a.pdf", "pages": "1"}
        data = base64.b64decode(sent_blocks(tmp_path, block)[0]["source"]["data"])
        with pypdfium2.PdfDocument(data) as document:
            assert len(document) == 1
            inked[value] = sum(
                document[0].render(scale=2, may_draw_forms=False).to_pil().convert("L").histogram()[:99]
            )
    assert inked[b"HELLO"] > inked[b""]


def test_selected_pages_count_instead_of_the_whole_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(pdf(700, size=1_500_000))
    assert "it has 700 pages" in blocks_problem(tmp_path, PATH_BLOCK, path="a")
    few = encode_blocks(tmp_path, {**PATH_BLOCK, "pages": "1-2"}, path="a")
    assert len(few.params.sent) < 10_000 and 2 * 8000 < len(few.params.sent) + few.size_adjustment < 2 * 8000 + 500


def test_all_pages_are_the_file_itself(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(pdf(3))
    whole, selected = (encode_blocks(tmp_path, {**PATH_BLOCK, **own}, path="a") for own in ({}, {"pages": "1-"}))
    assert whole == selected


def test_selection_is_equal_in_another_process_and_time_zone(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(numbered(3))
    code = "import sys; from runner.requests.pdf import copy_pages; data = open('a.pdf', 'rb').read(); "
    code += "sys.stdout.buffer.write(copy_pages(data, 'a.pdf', '2-'))"
    made = outputs_by_zone(tmp_path, code)
    assert len(made) == 1 and made.pop().startswith(b"%PDF-")
