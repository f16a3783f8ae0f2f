"""Damaged images and PDFs: sent, or a problem of their row."""

import base64
import io
import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pillow_heif
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.support.files import pdf
from tests.support.fuzzing import EDITS, edited, tries
from tests.support.prompts import encode_blocks_with

pytestmark = pytest.mark.slow

pillow_heif.register_heif_opener()

COLORS = Image.merge("RGB", [Image.effect_noise((40, 30), 60 + number) for number in range(3)])
GRAY, PALETTE, FAX = COLORS.convert("L"), COLORS.convert("P"), COLORS.convert("1")


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """An image file."""
    made = io.BytesIO()
    image.save(made, kind, **options)
    return made.getvalue()


FILES = {
    "png": saved(PALETTE, "PNG", transparency=3),
    "jpeg": saved(COLORS.convert("CMYK"), "JPEG", progressive=True),
    "gif": saved(PALETTE, "GIF", save_all=True, append_images=[PALETTE.rotate(90)]),
    "webp": saved(COLORS, "WEBP"),
    "tiff": saved(COLORS, "TIFF", save_all=True, append_images=[GRAY, PALETTE], compression="tiff_lzw"),
    "fax": saved(FAX, "TIFF", compression="group4"),
    "16-bit": saved(Image.frombytes("I;16", (20, 20), bytes(range(200)) * 4), "TIFF"),
    "bmp": saved(PALETTE, "BMP"),
    "heic": saved(COLORS, "HEIF"),
    "avif": saved(COLORS, "AVIF"),
    "jpeg 2000": saved(COLORS, "JPEG2000"),
    # Of wide pages, which are drawn in a fifth of the time.
    "pdf": pdf(2).replace(b"[0 0 300 200]", b"[0 0 900 110]"),
}


@cache
def encode_with(type: str, convert: bool, pages: str | None) -> Any:
    """The function that encodes a block with the file of a row."""
    block: dict[str, Any] = {"type": type, "base64": "{{ data }}"}
    block |= {"convert": True} if convert else {}
    block |= {} if pages is None else {"pages": pages}
    with TemporaryDirectory() as folder:
        return encode_blocks_with(Path(folder), block)


def sent(data: bytes, type: str, *, convert: bool = False, pages: str | None = None) -> list[bytes]:
    """What is sent for a file: nothing, if it is a problem of its row that one line says."""
    found = encode_with(type, convert, pages)(data=base64.b64encode(data).decode() or " ")
    assert found.problem is None or (found.problem.isprintable() and " at 0x" not in found.problem)
    if found.problem is not None:
        return []
    sources = [block["source"] for block in json.loads(found.params.sent)["messages"][0]["content"]]
    return [base64.b64decode(one["data"]) for one in sources if one["type"] == "base64"]


@tries(1200)
@given(st.sampled_from(sorted(FILES)), EDITS)
def test_damaged_image_is_sent_readable_or_a_problem(name: str, edits: list[tuple[str, int, int, bytes]]) -> None:
    data = edited(FILES[name], edits)
    for one in (*sent(data, "image"), *sent(data, "image", convert=True)):
        with Image.open(io.BytesIO(one)) as image:
            image.load()


@tries(300)
@given(EDITS, st.sampled_from(["1", "2-", "2,1"]))
def test_damaged_pdf_is_sent_or_a_problem(edits: list[tuple[str, int, int, bytes]], pages: str) -> None:
    data = edited(FILES["pdf"], edits)
    assert sent(data, "document") in ([data], [])
    assert len(sent(data, "document", pages=pages)) <= 1
