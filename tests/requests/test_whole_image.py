"""Images are decoded, so that damage rejects a row."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support.prompts import IMAGE_BLOCK, blocks_problem, sent_blocks

FRAMES = [Image.effect_noise((60, 40), 80 + number) for number in range(3)]


def saved(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    """An image whose every part matters."""
    made = io.BytesIO()
    FRAMES[0].convert(mode).save(made, kind, **options)
    return made.getvalue()


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of these chunks, each with its right checksum."""
    parts = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


HEADER = (b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
PIXELS = zlib.compress(bytes(8 * 25))

WHOLE = {
    "animated gif": saved("GIF", "P", save_all=True, append_images=[one.convert("P") for one in FRAMES[1:]]),
    "animated webp": saved("WEBP", save_all=True, append_images=[one.convert("RGB") for one in FRAMES[1:]]),
    "progressive jpeg": saved("JPEG", progressive=True),
    "cmyk jpeg": saved("JPEG", "CMYK"),
    "16-bit png": saved("PNG", "I;16"),
    "palette png": saved("PNG", "P"),
    "lossless webp": saved("WEBP", lossless=True),
}

DAMAGED = {
    "a png without pixels": png(HEADER, (b"IEND", b"")),
    "a png whose pixels are no zlib": png(HEADER, (b"IDAT", b"junkjunk"), (b"IEND", b"")),
    "a png whose pixels are cut": png(HEADER, (b"IDAT", PIXELS[:-6]), (b"IEND", b"")),
    "a png without a header": png((b"IDAT", PIXELS), (b"IEND", b"")),
    "a png with a wrong checksum": png(HEADER, (b"IDAT", PIXELS), (b"IEND", b"")).replace(
        struct.pack(">I", zlib.crc32(b"IDAT" + PIXELS)), b"0000"
    ),
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_image_is_sent_even_with_bytes_after_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "a").write_bytes(WHOLE[name])
    (tmp_path / "b").write_bytes(WHOLE[name] + b"\r\n")
    assert [len(sent_blocks(tmp_path, IMAGE_BLOCK, path=path)) for path in "ab"] == [1, 1]


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("name", WHOLE)
def test_image_of_any_kind_that_is_cut_is_rejected(tmp_path: Path, name: str, share: float) -> None:
    (tmp_path / "a").write_bytes(WHOLE[name][: int(len(WHOLE[name]) * share)])
    assert "a is no image that can be read" in blocks_problem(tmp_path, IMAGE_BLOCK, path="a")


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_inside_an_image_rejects_its_row(tmp_path: Path, name: str) -> None:
    (tmp_path / "a").write_bytes(DAMAGED[name])
    problem = blocks_problem(tmp_path, IMAGE_BLOCK, path="a")
    assert problem.startswith("a is no image that can be read: ") and " at 0x" not in problem


def test_gif_without_its_last_byte_is_sent(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(WHOLE["animated gif"][:-1])
    assert len(sent_blocks(tmp_path, IMAGE_BLOCK, path="a")) == 1
