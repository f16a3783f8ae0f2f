"""Turn an image of any common kind, or a PDF, into images that the API takes, one for each page.

The result follows from the bytes alone, so that an equal file makes an equal request.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import InputError, Problem
from runner.files.extras import missing_package_message
from runner.files.media_types import IMAGE_TYPES
from runner.requests.attachment_totals import RowRejected, attachment_limits
from runner.requests.pdf import open_pdf, render_page
from runner.requests.whole_image import open_image, read_image_size, reject_damage
from runner.spec.page_ranges import select_pages

if TYPE_CHECKING:
    from PIL import Image

_MAX_PIXELS = 100_000_000
"""The most pixels of a page that are decoded: in colour, they take four times as many bytes of memory."""

_SENT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
_SUBFILE_TYPE, _PHOTOMETRIC, _ORIENTATION = 254, 262, 274
"""Tags of TIFF, the last also of EXIF."""

_SMALLER_COPY, _MASK, _WHITE_IS_ZERO = 1, 4, 0


def convert_image(data: bytes, kind: str, name: str, *, pages: str | None, among_many: bool) -> list[bytes]:
    """Return the selected pages of an image as png, or as jpeg where a png would be too large.

    A png, jpeg, gif or webp that the API takes as it is stays as it is. With `among_many`, pages are small enough
    for a request with many images. Raises RowRejected if a page cannot be read, and InputError if a package is
    missing.
    """
    if kind == "application/pdf":
        return _convert_pdf(data, name, pages, among_many=among_many)
    if kind == "image/heic":
        _register_heic(name)
    with open_image(data, kind, name) as image:
        found = _find_pages(image)
        selected = [found[index] for index in _select(pages, len(found), name)]
        limits = attachment_limits()
        is_many = among_many or len(selected) > limits.many
        if kind in IMAGE_TYPES and _is_sendable(image, data, limits.side_of_many if is_many else limits.side):
            read_image_size(data, kind, name, most=limits.side)
            return [data]
        side = limits.side_of_many if is_many else limits.side_seen
        return [_encode_page(image, page, name, side) for page in selected]


def _convert_pdf(data: bytes, name: str, pages: str | None, *, among_many: bool) -> list[bytes]:
    limits = attachment_limits()
    with open_pdf(data, name) as document:
        # Otherwise what is filled in into forms would be missing.
        document.init_forms()
        selected = _select(pages, len(document), name)
        side = limits.side_of_many if among_many or len(selected) > limits.many else limits.side_seen
        drawn = (render_page(document, index, name, side) for index in selected)
        return [next(filter(_fits, _encode_smaller(image, side))) for image in drawn]


def _register_heic(name: str) -> None:
    if missing := missing_package_message("heic"):
        raise InputError([Problem(name, f"a HEIC image: {missing}")])
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)


def _select(pages: str | None, count: int, name: str) -> list[int]:
    """Return the indexes of the pages to send. Raises RowRejected if there are too many, or some do not exist."""
    try:
        selected = list(range(count)) if pages is None else select_pages(pages, count)
    except ValueError as error:
        raise RowRejected(f"{name}: {error}") from error
    if len(selected) > (most := attachment_limits().pages):
        raise RowRejected(f"{name} has {len(selected):,} pages, and {most} is the most: send some with `pages`")
    return selected


def _find_pages(image: "Image.Image") -> list[int]:
    """Return the frames that are pages: not those of an animation, nor the smaller copies and masks of a TIFF."""
    frames = range(getattr(image, "n_frames", 1))
    if image.format == "HEIF":
        return list(frames)
    return [frame for frame in frames if _is_page(image, frame)] or [0] if image.format == "TIFF" else [0]


def _is_page(image: "Image.Image", frame: int) -> bool:
    image.seek(frame)
    return not int(_tiff_tag(image, _SUBFILE_TYPE) or 0) & (_SMALLER_COPY | _MASK)


def _tiff_tag(image: "Image.Image", tag: int) -> int | None:
    tags = getattr(image, "tag_v2", None)
    return None if tags is None else tags.get(tag)


def _is_sendable(image: "Image.Image", data: bytes, most: int) -> bool:
    """Return whether the API takes an image as it is, and shows it to the model upright."""
    return (
        image.mode in _SENT_MODES
        and image.getexif().get(_ORIENTATION, 1) == 1
        and max(image.size) <= most
        and _fits(data)
    )


def _fits(data: bytes) -> bool:
    return len(data) * 4 / 3 <= attachment_limits().image_bytes


def _encode_page(image: "Image.Image", frame: int, name: str, side: int) -> bytes:
    with reject_damage(name, f"{name}: page {frame + 1} cannot be read"):
        image.seek(frame)
        pixels = image.width * image.height
        if pixels > _MAX_PIXELS:
            raise RowRejected(
                f"{name}: page {frame + 1} has {pixels:,} pixels, and {_MAX_PIXELS:,} is the most: save it smaller"
            )
        with _quiet_stderr():
            image.load()
        return next(filter(_fits, _encode_smaller(_make_plain(image), side)))


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Drop what libtiff writes to stderr about damaged lines of a fax, one by one; it shows them as it can."""
    try:
        saved = os.dup(2)
    except OSError:  # stderr is closed
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def _make_plain(image: "Image.Image") -> "Image.Image":
    """Return an image upright, in black and white, gray or RGB of 8 bits, and on white where it is transparent."""
    from PIL import Image, ImageOps

    is_negative = image.mode.startswith("I") and _tiff_tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("its values are not whole numbers")
    if image.mode.startswith("I"):
        image = _reduce_depth(image)
    if is_negative:
        image = ImageOps.invert(image)
    if image.has_transparency_data:
        drawn = image.convert("RGBA")
        image = Image.new("RGBA", image.size, "white")
        image.alpha_composite(drawn)
    if image.mode not in ("1", "L", "RGB"):
        image = image.convert("RGB")
    # Profiles and the like describe the original.
    image.info = {}
    return image


def _reduce_depth(image: "Image.Image") -> "Image.Image":
    """Return a gray image of more than 8 bits with 8: the upper ones of the 9 to 16 that its values use."""
    wide = image.convert("I")
    least, most = wide.getextrema()
    if not (isinstance(least, int) and isinstance(most, int)) or least < 0 or most > 65_535:
        raise ValueError("its gray values have 32 bits")
    shift = max(0, most.bit_length() - 8)
    return wide.point([min(255, value >> shift) for value in range(65_536)], "L")


def _encode_smaller(image: "Image.Image", side: int) -> Iterator[bytes]:
    """Yield an image as png, then as jpeg, then ever smaller, at first with `side` pixels at most."""
    while True:
        image = _shrink(image, side)
        for kind, options in (("PNG", {}), ("JPEG", {"quality": 90})):
            made = io.BytesIO()
            (image.convert("L") if kind == "JPEG" and image.mode == "1" else image).save(made, kind, **options)
            yield made.getvalue()
        side = max(image.size) * 3 // 4


def _shrink(image: "Image.Image", side: int) -> "Image.Image":
    from PIL import Image

    longest = max(image.size)
    if longest <= side:
        return image
    size = [max(1, round(length * side / longest)) for length in image.size]
    gray = image.convert("L") if image.mode == "1" else image
    return gray.resize((size[0], size[1]), Image.Resampling.LANCZOS, reducing_gap=3)
