"""Measure attachments, and enforce the API's limits on pages, images and bytes from `models.yaml`."""

import re

from runner.files.media_types import CONVERTIBLE_TYPES, IMAGE_TYPES, detect_media_type, is_text
from runner.pricing.models import find_model
from runner.requests.attachment_totals import AttachmentTotals, RowRejected, attachment_limits
from runner.requests.pdf import count_pages
from runner.requests.whole_image import read_image_size
from runner.spec.prompt import Block
from runner.spec.spec import Spec

_HEAD_BYTES = 4096


_PAGE_PATTERN = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")


def detect_allowed_type(block: Block, data: bytes, name: str) -> str:
    """Return the media type of an attachment. Raises RowRejected if its block does not accept it."""
    if not data:
        raise RowRejected(f"{name} is empty")
    kind = detect_media_type(data[:_HEAD_BYTES], name)
    if block.type == "image":
        if kind not in IMAGE_TYPES and not (block.convert and kind in (*CONVERTIBLE_TYPES, "application/pdf")):
            raise RowRejected(_no_image_message(block, kind, name))
        return kind
    if kind == "application/pdf":
        return kind
    is_known = kind not in ("text/plain", "application/octet-stream")
    if name.lower().endswith(".pdf") and not is_known:
        raise RowRejected(f"{name} is no PDF, although its name says so: it begins with {_show_start(data)}")
    if is_text(data[:_HEAD_BYTES]):
        try:
            data.decode()
        except UnicodeDecodeError as error:
            raise RowRejected(f"{name} is neither a PDF nor UTF-8 text") from error
        return "text/plain"
    hint = ": make it a block of the type image" if kind in IMAGE_TYPES else ""
    if kind in CONVERTIBLE_TYPES:
        hint = ": make it a block of the type image with `convert: true`"
    named = ", whatever its name says" if name.lower().endswith(".pdf") else ""
    raise RowRejected(f"{name} is {kind}{named}, and a document is a PDF or UTF-8 text{hint}")


def _no_image_message(block: Block, kind: str, name: str) -> str:
    if block.convert:
        return (
            f"{name} is {kind}, and `convert` reads images and PDFs: replace it, or leave it out with `where`, "
            f"for example `path != {name!r}`"
        )
    if kind in CONVERTIBLE_TYPES:
        known = CONVERTIBLE_TYPES[kind]
        return (
            f"{name} is a {known} image, and an image is png, jpeg, gif or webp: set `convert: true` in its block"
        )
    hint = ": make it a block of the type document, or set `convert: true`" if kind == "application/pdf" else ""
    return f"{name} is {kind}, and an image is png, jpeg, gif or webp{hint}"


def _show_start(data: bytes) -> str:
    return repr(" ".join(data[:200].decode("utf-8", "replace").split())[:40])


def measure_attachment(block: Block, data: bytes, name: str, totals: AttachmentTotals) -> str:
    """Return the media type of an attachment, and add it to the totals. Raises RowRejected."""
    kind, limits = detect_allowed_type(block, data, name), attachment_limits()
    if kind == "application/pdf":
        pages = count_pages(data, name)
        # The page count that a PDF declares may be wrong.
        totals.add_pdf(len(data), pages, max(pages, len(_PAGE_PATTERN.findall(data))))
    elif kind in IMAGE_TYPES:
        if len(data) * 4 / 3 > limits.image_bytes:
            raise RowRejected(f"{name} has {len(data):,} bytes, and {limits.image_bytes:,} of base64 is the most")
        totals.add_image(len(data), max(read_image_size(data, kind, name, most=limits.side)))
    else:
        totals.add_text(len(data))
    return kind


def check_attachment_limits(spec: Spec, totals: AttachmentTotals) -> None:
    """Raise RowRejected if a request exceeds the API's limits (platform.claude.com, vision, 2026-08)."""
    api_limits, model = attachment_limits(), find_model(str(spec.params["model"]))
    is_small = model is not None and model.context is not None and model.context <= api_limits.small_context
    max_pages = api_limits.pages_of_small if is_small else api_limits.pages
    pages = totals.counts.pages
    if pages + len(totals.image_sides) > max_pages:
        raise RowRejected(
            f"it has {pages + len(totals.image_sides):,} pages and images, and {max_pages} is the most"
            + ": send a part of the document with `pages`" * bool(pages)
        )
    side = api_limits.side_of_many if len(totals.image_sides) > api_limits.many else api_limits.side
    if largest := max((one for one in totals.image_sides if one > side), default=0):
        among = f" among {len(totals.image_sides)} images" if side == api_limits.side_of_many else ""
        raise RowRejected(f"an image is {largest:,} pixels wide or high{among}, and {side:,} is the most")
