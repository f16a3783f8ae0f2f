"""Read the size of an image, and reject one that is cut short or damaged, by decoding it."""

import io
import struct
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runner.requests.attachment_totals import RowRejected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image

_DAMAGE = (
    OSError,
    ValueError,
    TypeError,
    SyntaxError,
    LookupError,
    ArithmeticError,
    EOFError,
    RuntimeError,
    struct.error,
)
"""Exceptions that Pillow raises for damaged files."""

_FORMATS = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/gif": "GIF",
    "image/webp": "WEBP",
    "image/tiff": "TIFF",
    "image/bmp": "BMP",
    "image/heic": "HEIF",
    "image/avif": "AVIF",
    "image/jp2": "JPEG2000",
}
"""Pillow's names of media types. It tries no other reader, because some run other programs."""

_GIF_END, _GIF_EXTENSION, _GIF_IMAGE = b"\x3b\x21\x2c"


def read_image_size(data: bytes, kind: str, name: str, *, most: int) -> tuple[int, int]:
    """Return the width and height in pixels of an image of a type that the API takes.

    It is decoded, unless a side is longer than `most`. Raises RowRejected if it is cut short or damaged.
    """
    with open_image(data, kind, name) as image:
        size = image.size
        if max(size) <= most:
            _decode(image, data)
        return size


@contextmanager
def open_image(data: bytes, kind: str, name: str) -> "Iterator[Image.Image]":
    """Open an image of this media type. What Pillow raises for damage, also later, becomes RowRejected."""
    from PIL import Image

    with (
        reject_damage(name, f"{name} is no image that can be read"),
        Image.open(io.BytesIO(data), formats=(_FORMATS[kind],)) as image,
    ):
        yield image


@contextmanager
def reject_damage(name: str, problem: str) -> "Iterator[None]":
    """Turn what Pillow raises for damage into RowRejected, with `problem` as the beginning of its message."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # Sizes are checked before anything is decoded, and damage is an error: the warnings say no more.
            warnings.simplefilter("ignore")
            yield
    except RowRejected:
        raise
    except Image.DecompressionBombError as error:
        raise RowRejected(f"{name} has more pixels than are decoded: save it smaller") from error
    except UnidentifiedImageError as error:
        raise RowRejected(f"{problem}: its first bytes are damaged") from error
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) if isinstance(error, OSError | ValueError) else "it is damaged"
        raise RowRejected(f"{problem}: {reason}") from error


def _decode(image: "Image.Image", data: bytes) -> None:
    """Decode the image that the API looks at: the first one, if there are several. Raises an error for damage."""
    match image.format:
        case "PNG":
            _check_png(data)
        case "GIF":
            _check_gif(data)
        case "WEBP":
            if len(data) < int.from_bytes(data[4:8], "little") + 8:
                raise OSError("image file is truncated")
        case _:
            # All of a JPEG is read, although it is decoded at an eighth of its size, which takes less memory.
            image.draft("L", (1, 1))
    image.load()


def _check_png(data: bytes) -> None:
    """Compare the checksums of a PNG, which decoding does not do."""
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        image.verify()


def _check_gif(data: bytes) -> None:
    """Raise OSError if a GIF ends inside one of its images; decoding stops after the first."""
    at = 13 + _color_table_bytes(data[10])
    while at < len(data) and data[at] != _GIF_END:
        if data[at] == _GIF_EXTENSION:
            at += 2
        elif data[at] == _GIF_IMAGE and at + 9 < len(data):
            at += 11 + _color_table_bytes(data[at + 9])
        else:
            break
        at = _skip_gif_blocks(data, at)


def _color_table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _skip_gif_blocks(data: bytes, at: int) -> int:
    """Return where the blocks of data end that begin at `at`: each with its length, the last one is empty."""
    while at < len(data) and data[at]:
        at += data[at] + 1
    if at >= len(data):
        raise OSError("image file is truncated")
    return at + 1
