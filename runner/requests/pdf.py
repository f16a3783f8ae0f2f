"""Read PDFs with PDFium."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

from runner.requests.attachment_totals import RowRejected

# PDFium must not be called by two threads at once; the simulator answers in threads of this process.
_PDFIUM = Lock()

_PASSWORD = "save it without one, for example by printing it to a PDF"  # noqa: S105 - words about one


def count_pages(data: bytes, name: str) -> int:
    """Return the number of pages of a PDF. Raises RowRejected if it cannot be read, is encrypted or has none."""
    with _open_pdf(data, name) as document:
        return len(document)


@contextmanager
def _open_pdf(data: bytes, name: str) -> Iterator[Any]:
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
