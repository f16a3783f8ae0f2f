"""Measure attachments, and enforce the API's limits on pages, images and bytes from `models.yaml`."""

import io
import re
import warnings
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from runner.files.media_types import IMAGE_TYPES, detect_media_type, is_text
from runner.pricing.models import AttachmentLimits, find_model, load_catalogue
from runner.spec.prompt import Block
from runner.spec.spec import Spec

if TYPE_CHECKING:
    from PIL import Image

_HEAD_BYTES = 4096


# PDFium must not be called by two threads at once; the simulator answers in threads of this process.
_PDFIUM = Lock()


_PAGE_PATTERN = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")


class RowRejected(ValueError):
    """An attachment cannot be sent; its row is rejected, and the other rows are sent."""


@dataclass(slots=True)
class AttachmentTotals:
    """The attachments of one request: PDF pages, longest sides of images in pixels, and size correction.

    `size_adjustment` corrects the byte length for attachments, whose token count does not follow from their size.
    """

    pages: int = 0
    image_sides: list[int] = field(default_factory=list)
    size_adjustment: int = 0

    def add(self, other: "AttachmentTotals") -> None:
        """Add the totals of another part of the request."""
        self.pages += other.pages
        self.image_sides += other.image_sides
        self.size_adjustment += other.size_adjustment


def attachment_limits() -> AttachmentLimits:
    """Return the API's limits on the attachments of a request."""
    return load_catalogue().attachments


def _detect_allowed_type(block: Block, data: bytes, name: str) -> str:
    """Return the media type of an attachment. Raises RowRejected if its block does not accept it."""
    if not data:
        raise RowRejected(f"{name} is empty")
    kind = detect_media_type(data[:_HEAD_BYTES], name)
    if block.type == "image":
        if kind not in IMAGE_TYPES:
            raise RowRejected(f"{name} is {kind}, and an image is png, jpeg, gif or webp")
        return kind
    if kind == "application/pdf":
        return kind
    if name.lower().endswith(".pdf"):
        raise RowRejected(f"{name} is no PDF, although its name says so: it begins with {_show_start(data)}")
    if is_text(data[:_HEAD_BYTES]):
        try:
            data.decode()
        except UnicodeDecodeError as error:
            raise RowRejected(f"{name} is neither a PDF nor UTF-8 text") from error
        return "text/plain"
    hint = ": make it a block of the type image" if kind in IMAGE_TYPES else ""
    raise RowRejected(f"{name} is {kind}, and a document is a PDF or UTF-8 text{hint}")


def _show_start(data: bytes) -> str:
    return repr(" ".join(data[:200].decode("utf-8", "replace").split())[:40])


def measure_attachment(block: Block, data: bytes, name: str, totals: AttachmentTotals) -> str:
    """Return the media type of an attachment, and add it to the totals. Raises RowRejected."""
    kind = _detect_allowed_type(block, data, name)
    if kind == "application/pdf":
        pages = _count_pages(data, name)
        totals.pages += pages
        # The page count that a PDF declares may be wrong.
        totals.size_adjustment += max(pages, len(_PAGE_PATTERN.findall(data))) * attachment_limits().page_tokens
    elif kind in IMAGE_TYPES:
        if len(data) * 4 / 3 > attachment_limits().image_bytes:
            raise RowRejected(
                f"{name} has {len(data):,} bytes, and {attachment_limits().image_bytes:,} of base64 is the most"
            )
        totals.image_sides.append(max(_read_image_size(data, name)))
        totals.size_adjustment += attachment_limits().image_tokens
    return kind


def _count_pages(data: bytes, name: str) -> int:
    import pypdfium2

    with _PDFIUM:
        try:
            document = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as error:
            reason = "needs a password" if "password" in str(error) else f"is no PDF that can be read: {error}"
            raise RowRejected(f"{name} {reason}") from error
        try:
            return len(document)
        finally:
            document.close()


def _read_image_size(data: bytes, name: str) -> tuple[int, int]:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # The sides are checked before anything is decoded: Pillow's warning about large images says no more.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                size = image.size
                if max(size) <= attachment_limits().side:
                    _check_whole(image, data)
                return size
    except Image.DecompressionBombError as error:
        raise RowRejected(f"{name} has more pixels than the API takes") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise RowRejected(f"{name} is no image that can be read: {error}") from error


def _check_whole(image: "Image.Image", data: bytes) -> None:
    """Raise OSError or SyntaxError if an image is cut short or damaged, as cheaply as its format allows."""
    match image.format:
        case "PNG":
            image.verify()  # the checksums of all its parts
        case "WEBP":
            if len(data) < int.from_bytes(data[4:8], "little") + 8:
                raise OSError("image file is truncated")
        case _:
            # A JPEG is decoded at an eighth of its size.
            image.draft("L", (1, 1))
            image.load()


def check_attachment_limits(spec: Spec, totals: AttachmentTotals) -> None:
    """Raise RowRejected if a request exceeds the API's limits (platform.claude.com, vision, 2026-08)."""
    api_limits, model = attachment_limits(), find_model(str(spec.params["model"]))
    is_small = model is not None and model.context is not None and model.context <= api_limits.small_context
    max_pages = api_limits.pages_of_small if is_small else api_limits.pages
    if totals.pages + len(totals.image_sides) > max_pages:
        raise RowRejected(
            f"it has {totals.pages + len(totals.image_sides):,} pages and images, and {max_pages} is the most"
        )
    side = api_limits.side_of_many if len(totals.image_sides) > api_limits.many else api_limits.side
    if largest := max((one for one in totals.image_sides if one > side), default=0):
        among = f" among {len(totals.image_sides)} images" if side == api_limits.side_of_many else ""
        raise RowRejected(f"an image is {largest:,} pixels wide or high{among}, and {side:,} is the most")
