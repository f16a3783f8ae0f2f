"""Read PDFs with PDFium."""

import io
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any, cast

from runner.requests.attachment_totals import RowRejected
from runner.spec.page_ranges import select_pages

if TYPE_CHECKING:
    from PIL import Image

# PDFium must not be called by two threads at once; the simulator answers in threads of this process.
_PDFIUM = Lock()

_PASSWORD = "save it without one, for example by printing it to a PDF"  # noqa: S105 - words about one

# What PDFium writes into a new PDF that differs each time: the date near its start, and a random id at its end.
_DATE, _ID, _ENDS = re.compile(rb"/CreationDate\(D:[^)]*\)"), re.compile(rb"(?<=<)[0-9A-F]{32}(?=>)"), 1_000

_NO_DATE = b"/CreationDate(D:20000101000000Z)"


def count_pages(data: bytes, name: str) -> int:
    """Return the number of pages of a PDF. Raises RowRejected if it cannot be read, is encrypted or has none."""
    with open_pdf(data, name) as document:
        return len(document)


def copy_pages(data: bytes, name: str, pages: str) -> bytes:
    """Return a PDF of the selected pages (see `page_ranges`): equal bytes for equal input.

    Raises RowRejected if it cannot be read, or does not have these pages.
    """
    import pypdfium2

    with open_pdf(data, name) as document:
        document.init_forms()
        try:
            indexes = select_pages(pages, len(document))
        except ValueError as error:
            raise RowRejected(f"{name}: {error}") from error
        if indexes == list(range(len(document))):
            return data
        made, written = pypdfium2.PdfDocument.new(), io.BytesIO()
        try:
            _keep_form_values(document, indexes)
            made.import_pages(document, indexes)
            made.save(written)
        except pypdfium2.PdfiumError as error:
            raise RowRejected(f"{name} has a page that cannot be copied: {error}") from error
        finally:
            made.close()
    return _without_date(written.getvalue())


def _keep_form_values(document: Any, indexes: Iterable[int]) -> None:
    """Draw what is filled in into forms on their pages, because a copy has no forms."""
    if document.formenv is not None:
        for index in indexes:
            page = document[index]
            page.flatten()
            page.close()


def render_page(document: Any, index: int, name: str, side: int) -> "Image.Image":
    """Return a page of an open PDF as an image with `side` pixels on its longer side. Raises RowRejected."""
    import pypdfium2

    try:
        page = document[index]
        try:
            return cast("Image.Image", page.render(scale=side / max(page.get_size())).to_pil())
        finally:
            page.close()
    except (pypdfium2.PdfiumError, RuntimeError, ZeroDivisionError) as error:
        raise RowRejected(f"{name}: page {index + 1} cannot be drawn: {error}") from error


def _without_date(data: bytes) -> bytes:
    """Return a PDF that PDFium made, without what differs each time; all else stays at its place."""
    head = _DATE.sub(lambda match: _NO_DATE.ljust(len(match[0])), data[:_ENDS], count=1)
    data = head + data[_ENDS:]
    return data[:-_ENDS] + _ID.sub(b"0" * 32, data[-_ENDS:])


@contextmanager
def open_pdf(data: bytes, name: str) -> Iterator[Any]:
    """Open a PDF; the API takes "standard PDF (no passwords/encryption)" (PDF support, 2026-08)."""
    import pypdfium2

    with _PDFIUM:
        try:
            document = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as error:
            raise RowRejected(f"{name} {_describe_error(data)}") from error
        try:
            if pypdfium2.raw.FPDF_GetSecurityHandlerRevision(document) >= 0:
                raise RowRejected(
                    f"{name} is encrypted, although it opens without a password, and the API takes no such PDF: "
                    + _PASSWORD
                )
            yield document
        finally:
            document.close()


def _describe_error(data: bytes) -> str:
    """Return why a PDF cannot be read. PDFium does not tell: for one without pages it repeats its last error."""
    if b"/Encrypt" in data:
        return f"needs a password: {_PASSWORD}"
    return "is no PDF that can be read: it is damaged, or has no pages"
