"""Totals of the attachments of one request, the API's limits on them, and the error for a row that breaks one."""

from dataclasses import dataclass, field, fields

from runner.pricing.models import AttachmentLimits, load_catalogue


class RowRejected(ValueError):
    """An attachment cannot be sent; its row is rejected, and the other rows are sent."""


@dataclass(slots=True)
class AttachedCounts:
    """Numbers of documents, images and pages of PDFs, and their bytes before base64.

    `unopened` of them are named by a URL or id. `weight` is the size in bytes of a text with as many tokens.
    """

    documents: int = 0
    images: int = 0
    pages: int = 0
    bytes: int = 0
    unopened: int = 0
    weight: int = 0

    def add(self, other: "AttachedCounts") -> None:
        """Add other counts."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


@dataclass(slots=True)
class AttachmentTotals:
    """The attachments of one request: counts, longest sides of images in pixels, and size correction.

    `size_adjustment` corrects the byte length for attachments, whose token count does not follow from their size.
    `has_many_images` is set if converted images must be small enough for a request with many images.
    """

    counts: AttachedCounts = field(default_factory=AttachedCounts)
    image_sides: list[int] = field(default_factory=list)
    size_adjustment: int = 0
    has_many_images: bool = False

    def add(self, other: "AttachmentTotals") -> None:
        """Add the totals of another part of the request."""
        self.counts.add(other.counts)
        self.image_sides += other.image_sides
        self.size_adjustment += other.size_adjustment

    def add_text(self, size: int) -> None:
        """Add a document of text of this size in bytes."""
        self.counts.add(AttachedCounts(documents=1, bytes=size, weight=size))

    def add_pdf(self, size: int, pages: int, weighed_pages: int) -> None:
        """Add a PDF of this size in bytes; it is estimated to have `weighed_pages`."""
        weight = weighed_pages * attachment_limits().page_tokens
        self.counts.add(AttachedCounts(documents=1, pages=pages, bytes=size, weight=weight))
        self.size_adjustment += weight

    def add_image(self, size: int, side: int) -> None:
        """Add an image of this size in bytes, whose longest side has so many pixels."""
        weight = attachment_limits().image_tokens
        self.counts.add(AttachedCounts(images=1, bytes=size, weight=weight))
        self.image_sides.append(side)
        self.size_adjustment += weight

    def add_unopened(self, type: str) -> None:
        """Add a document or image that the API opens, with an assumed number of pages."""
        limits, is_image = attachment_limits(), type == "image"
        weight = limits.image_tokens if is_image else limits.unknown_pages * limits.page_tokens
        self.counts.add(AttachedCounts(documents=not is_image, images=is_image, unopened=1, weight=weight))
        self.size_adjustment += weight


def attachment_limits() -> AttachmentLimits:
    """Return the API's limits on the attachments of a request."""
    return load_catalogue().attachments
