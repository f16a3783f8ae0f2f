"""Totals of the attachments of one request, the API's limits on them, and the error for a row that breaks one."""

from dataclasses import dataclass, field

from runner.pricing.models import AttachmentLimits, load_catalogue


class RowRejected(ValueError):
    """An attachment cannot be sent; its row is rejected, and the other rows are sent."""


@dataclass(slots=True)
class AttachmentTotals:
    """The attachments of one request: PDF pages, longest sides of images in pixels, and size correction.

    `size_adjustment` corrects the byte length for attachments, whose token count does not follow from their size.
    `has_many_images` is set if converted images must be small enough for a request with many images.
    """

    pages: int = 0
    image_sides: list[int] = field(default_factory=list)
    size_adjustment: int = 0
    has_many_images: bool = False

    def add(self, other: "AttachmentTotals") -> None:
        """Add the totals of another part of the request."""
        self.pages += other.pages
        self.image_sides += other.image_sides
        self.size_adjustment += other.size_adjustment


def attachment_limits() -> AttachmentLimits:
    """Return the API's limits on the attachments of a request."""
    return load_catalogue().attachments
