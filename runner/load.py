"""Measure attachments, and enforce the API's limits on pages, images and bytes from `models.yaml`."""

import io
import re
import warnings
from dataclasses import dataclass, field

from runner.cost import Limits, catalogue, known_model
from runner.media import IMAGES, is_text, media_type
from runner.spec.spec import Block, Spec

_HEAD = 4096
_PAGE = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")


class Unsendable(ValueError):
    """An attachment cannot be sent; its row is rejected, and the other rows are sent."""


@dataclass(slots=True)
class Load:
    """The attachments of one request: PDF pages, longest sides of images in pixels, and size correction.

    `extra` corrects the byte length for attachments, whose token count does not follow from their size.
    """

    pages: int = 0
    sides: list[int] = field(default_factory=list)
    extra: int = 0

    def add(self, other: "Load") -> None:
        """Add the load of one attachment."""
        self.pages += other.pages
        self.sides += other.sides
        self.extra += other.extra


def limits() -> Limits:
    """Return the API's limits on the attachments of a request."""
    return catalogue().attachments


def _kind(block: Block, data: bytes, name: str) -> str:
    """Return the media type of an attachment. Raises Unsendable if its block does not accept it."""
    if not data:
        raise Unsendable(f"{name} is empty")
    kind = media_type(data[:_HEAD])
    if block.type == "image":
        if kind not in IMAGES:
            raise Unsendable(f"{name} is {kind}, and an image is png, jpeg, gif or webp")
        return kind
    if kind == "application/pdf":
        return kind
    if is_text(data[:_HEAD]):
        try:
            data.decode()
        except UnicodeDecodeError as error:
            raise Unsendable(f"{name} is neither a PDF nor UTF-8 text") from error
        return "text/plain"
    hint = ": make it a block of the type image" if kind in IMAGES else ""
    raise Unsendable(f"{name} is {kind}, and a document is a PDF or UTF-8 text{hint}")


def weighed(block: Block, data: bytes, name: str, load: Load) -> str:
    """Return the media type of an attachment, and add it to a load. Raises Unsendable."""
    kind = _kind(block, data, name)
    if kind == "application/pdf":
        pages = _pages(data, name)
        load.pages += pages
        # The page count that a PDF declares may be wrong.
        load.extra += max(pages, len(_PAGE.findall(data))) * limits().page_tokens
    elif kind in IMAGES:
        if len(data) * 4 / 3 > limits().image_bytes:
            raise Unsendable(f"{name} has {len(data):,} bytes, and {limits().image_bytes:,} of base64 is the most")
        load.sides.append(max(_dimensions(data, name)))
        load.extra += limits().image_tokens
    return kind


def _pages(data: bytes, name: str) -> int:
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        reason = "needs a password" if "password" in str(error) else f"is no PDF that can be read: {error}"
        raise Unsendable(f"{name} {reason}") from error
    try:
        return len(document)
    finally:
        document.close()


def _dimensions(data: bytes, name: str) -> tuple[int, int]:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # Only the header is read, so Pillow's warning about large images does not apply.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                return image.size
    except Image.DecompressionBombError as error:
        raise Unsendable(f"{name} has more pixels than the API takes") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise Unsendable(f"{name} is no image that can be read") from error


def check_load(spec: Spec, load: Load) -> None:
    """Raise Unsendable if a request exceeds the API's limits (platform.claude.com, vision, 2026-08)."""
    most_of, model = limits(), known_model(str(spec.params["model"]))
    is_small = model is not None and model.context is not None and model.context <= most_of.small_context
    most = most_of.pages_of_small if is_small else most_of.pages
    if load.pages + len(load.sides) > most:
        raise Unsendable(f"it has {load.pages + len(load.sides):,} pages and images, and {most} is the most")
    side = most_of.side_of_many if len(load.sides) > most_of.many else most_of.side
    if largest := max((one for one in load.sides if one > side), default=0):
        among = f" among {len(load.sides)} images" if side == most_of.side_of_many else ""
        raise Unsendable(f"an image is {largest:,} pixels wide or high{among}, and {side:,} is the most")
