"""PDFs and images, made for tests."""

import io

from PIL import Image


def pdf(pages: int = 1, *, size: int = 0, text: str = "Invoice") -> bytes:
    """A PDF with so many pages, filled up to at least `size` bytes."""
    padding = b"" if size < 600 * pages else b"%" + b"x" * (size - 400 * pages) + b"\n"
    stream = b"BT /F1 12 Tf 20 100 Td (%b) Tj ET\n" % text.encode("latin-1", "replace") + padding
    kids = b" ".join(b"%d 0 R" % (number + 5) for number in range(pages))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [%b] /Count %d >>" % (kids, pages),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Length %d >>\nstream\n%bendstream" % (len(stream), stream),
        *[
            (
                b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 300 200] /Contents 4 0 R"
                b" /Resources << /Font << /F1 3 0 R >> >> >>"
            )
        ]
        * pages,
    ]
    made, offsets = io.BytesIO(b"%PDF-1.4\n"), []
    made.seek(0, io.SEEK_END)
    for number, one in enumerate(objects, 1):
        offsets.append(made.tell())
        made.write(b"%d 0 obj\n%b\nendobj\n" % (number, one))
    start = made.tell()
    made.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    made.writelines(b"%010d 00000 n \n" % offset for offset in offsets)
    made.write(b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start))
    return made.getvalue()


def image(width: int = 8, height: int = 8, *, kind: str = "PNG") -> bytes:
    """An image of one colour."""
    made = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(made, kind)
    return made.getvalue()
