"""`convert: true` makes images of any kind into images that the API takes, one for each page."""

import base64
import io
from pathlib import Path
from typing import Any

import pillow_heif
import pytest
from PIL import Image, ImageChops, TiffImagePlugin

from tests.support.files import pdf
from tests.support.processes import outputs_by_zone
from tests.support.prompts import IMAGE_BLOCK, blocks_problem, encode_blocks, sent_blocks

pillow_heif.register_heif_opener()

CONVERTED = {**IMAGE_BLOCK, "convert": True}
NOISE = Image.effect_noise((60, 40), 80)
COLORS = Image.merge("RGB", [NOISE, NOISE.rotate(180), NOISE.transpose(Image.Transpose.FLIP_TOP_BOTTOM)])


def saved(image: Image.Image, kind: str, *others: Image.Image, **options: Any) -> bytes:
    """An image file; `others` are its further pages."""
    made = io.BytesIO()
    image.save(made, kind, **({"save_all": True, "append_images": others} if others else {}), **options)
    return made.getvalue()


def converted(root: Path, data: bytes, **settings: Any) -> list[Image.Image]:
    """The images that are sent for a file, decoded."""
    (root / "a").write_bytes(data)
    found = list[Image.Image]()
    for block in sent_blocks(root, {**CONVERTED, **settings}, path="a"):
        source = block["source"]
        found.append(Image.open(io.BytesIO(base64.b64decode(source["data"]))))
        assert (block["type"], source["media_type"]) == ("image", f"image/{str(found[-1].format).lower()}")
    return found


def tags(**values: int) -> TiffImagePlugin.ImageFileDirectory_v2:
    """Tags of a TIFF: `subfile` type, `photometric` interpretation, orientation."""
    numbers = {"subfile": 254, "photometric": 262, "orientation": 274}
    made = TiffImagePlugin.ImageFileDirectory_v2()
    for name, value in values.items():
        made[numbers[name]] = value
    return made


def is_same(one: Image.Image, other: Image.Image) -> bool:
    """Return whether two images show the same."""
    return one.size == other.size and not ImageChops.difference(one.convert("RGB"), other.convert("RGB")).getbbox()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate", "big_tiff": True}),
        ("BMP", {}),
        ("JPEG2000", {"irreversible": False}),
    ],
)
def test_other_kind_becomes_a_png_of_the_same_pixels(tmp_path: Path, kind: str, options: dict[str, Any]) -> None:
    [made] = converted(tmp_path, saved(COLORS, kind, **options))
    assert (made.format, made.mode) == ("PNG", "RGB") and is_same(made, COLORS)


@pytest.mark.parametrize(("kind", "name"), [("HEIF", "HEIC"), ("AVIF", "AVIF"), ("TIFF", "TIFF"), ("BMP", "BMP")])
def test_without_convert_the_message_names_kind_and_remedy(tmp_path: Path, kind: str, name: str) -> None:
    (tmp_path / "a").write_bytes(saved(COLORS, kind))
    assert blocks_problem(tmp_path, IMAGE_BLOCK, path="a") == (
        f"a is a {name} image, and an image is png, jpeg, gif or webp: set `convert: true` in its block"
    )
    document = blocks_problem(tmp_path, {**IMAGE_BLOCK, "type": "document"}, path="a")
    assert document.endswith("make it a block of the type image with `convert: true`")
    [made] = converted(tmp_path, saved(COLORS, kind))
    assert (made.format, made.size) == ("PNG", COLORS.size)


def test_each_page_is_a_block_and_the_last_has_the_mark(tmp_path: Path) -> None:
    pages = [COLORS, NOISE.resize((10, 30)), NOISE.convert("1")]
    assert all(map(is_same, converted(tmp_path, saved(pages[0], "TIFF", *pages[1:]), cache="1h"), pages))
    text = {"type": "text", "text": "What is it?"}
    sent = sent_blocks(tmp_path, {**CONVERTED, "cache": "1h"}, text, path="a")
    assert [block["type"] for block in sent] == ["image"] * 3 + ["text"]
    assert [block.get("cache_control") for block in sent] == [None, None, {"type": "ephemeral", "ttl": "1h"}, None]


def test_pages_selects_pages_of_an_image(tmp_path: Path) -> None:
    data = saved(NOISE.resize((1, 9)), "TIFF", *(NOISE.resize((width, 9)) for width in (2, 3, 4)))
    assert [one.width for one in converted(tmp_path, data, pages="2,4")] == [2, 4]
    assert [one.width for one in converted(tmp_path, data, pages="3-9")] == [3, 4]
    problem = blocks_problem(tmp_path, {**CONVERTED, "pages": "5-9"}, path="a")
    assert problem == "a: it has 4 pages, and `pages: 5-9` selects page 5"


def test_damaged_page_rejects_the_row_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(saved(NOISE, "TIFF", COLORS)[:-900])
    assert blocks_problem(tmp_path, CONVERTED, path="a").startswith("a: page 2 cannot be read: ")
    assert len(sent_blocks(tmp_path, {**CONVERTED, "pages": "1"}, path="a")) == 1


def test_damaged_lines_of_a_fax_print_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = saved(NOISE.convert("1"), "TIFF", compression="group4")
    sent = 0
    for place in range(20, 200, 3):
        (tmp_path / "a").write_bytes(data[:place] + b"\xa5" + data[place + 1 :])
        sent += encode_blocks(tmp_path, CONVERTED, path="a").problem is None
    assert sent > 10 and capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "WEBP", "PNG"])
def test_image_that_must_be_turned_is_sent_upright(tmp_path: Path, kind: str) -> None:
    exif = Image.Exif()
    exif[274] = 6
    left = Image.new("RGB", (40, 20), "white")
    left.paste("black", (0, 0, 20, 20))
    [made] = converted(tmp_path, saved(left, kind, exif=exif))
    assert made.size == (20, 40) and made.getexif().get(274, 1) == 1
    assert [made.convert("L").getpixel(place) for place in ((10, 5), (10, 35))] == [0, 255]


def gray16(*values: int, size: tuple[int, int] = (1, 1)) -> Image.Image:
    """A gray image of 16 bits."""
    return Image.frombytes("I;16", (len(values), 1), b"".join(one.to_bytes(2, "little") for one in values)).resize(
        (len(values) * size[0], size[1])
    )


CLEAR = Image.new("RGBA", (1, 1), (255, 0, 0, 0))
PALETTE = COLORS.convert("P")


@pytest.mark.parametrize(
    ("data", "mode", "pixel"),
    [
        (saved(COLORS.convert("CMYK"), "TIFF"), "RGB", COLORS.convert("CMYK").convert("RGB").getpixel((0, 0))),
        (saved(Image.new("CMYK", (9, 9), (0, 255, 255, 0)), "JPEG", quality=100), "RGB", (255, 0, 0)),
        (saved(CLEAR, "TIFF"), "RGB", (255, 255, 255)),
        (saved(PALETTE, "TIFF"), "RGB", PALETTE.convert("RGB").getpixel((0, 0))),
        (saved(gray16(0x8000, 0xFFFF), "PNG"), "L", 0x80),
        (saved(gray16(0x8000, 0xFFFF), "TIFF"), "L", 0x80),
        (saved(gray16(0x0800, 0x0FFF), "TIFF"), "L", 0x80),
        (saved(gray16(0x00FF, 0xFFFF), "TIFF", tiffinfo=tags(photometric=0)), "L", 0xFF),
        (saved(Image.new("1", (9, 9), 1), "TIFF", compression="group4"), "1", 255),
        (saved(Image.new("LAB", (9, 9), (255, 128, 128)), "TIFF"), "RGB", (254, 255, 254)),
    ],
    ids=["cmyk", "cmyk jpeg", "alpha", "palette", "16-bit png", "16-bit", "12-bit", "negative", "bilevel", "lab"],
)
def test_pixels_of_any_depth_and_color_are_right(tmp_path: Path, data: bytes, mode: str, pixel: Any) -> None:
    [made] = converted(tmp_path, data)
    assert (made.format, made.mode, made.getpixel((0, 0))) == ("PNG", mode, pixel)


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pixels_of_32_bits_are_rejected(tmp_path: Path, mode: str) -> None:
    (tmp_path / "a").write_bytes(saved(Image.new(mode, (9, 9), 100_000), "TIFF"))
    assert blocks_problem(tmp_path, CONVERTED, path="a").startswith("a: page 1 cannot be read: its ")


def test_smaller_copies_and_masks_in_a_tiff_are_no_pages(tmp_path: Path) -> None:
    made = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(made) as file:
        for width, subfile in ((40, 2), (20, 1), (40, 4), (30, 0)):
            NOISE.resize((width, 9)).save(file, "TIFF", tiffinfo=tags(subfile=subfile))
            file.newFrame()
    assert [one.width for one in converted(tmp_path, made.getvalue())] == [40, 30]


def test_image_that_the_api_takes_stays_as_it_is(tmp_path: Path) -> None:
    frames = [one.convert("P") for one in (NOISE, NOISE.rotate(90))]
    for data in (saved(COLORS, "JPEG"), saved(COLORS, "PNG"), saved(frames[0], "GIF", frames[1])):
        (tmp_path / "a").write_bytes(data)
        [block] = sent_blocks(tmp_path, CONVERTED, path="a")
        assert base64.b64decode(block["source"]["data"]) == data
    (tmp_path / "a").write_bytes(saved(COLORS, "JPEG")[:-300])
    assert "a is no image that can be read" in blocks_problem(tmp_path, CONVERTED, path="a")


def test_large_page_becomes_as_small_as_the_model_sees_it(tmp_path: Path) -> None:
    [made] = converted(tmp_path, saved(Image.new("1", (3000, 6000)), "TIFF", compression="group4"))
    assert (made.size, made.mode) == ((1288, 2576), "L")
    (tmp_path / "b").write_bytes(saved(Image.new("L", (9000, 9)), "PNG"))
    assert encode_blocks(tmp_path, CONVERTED, path="b").problem is None


def test_image_too_large_for_a_png_becomes_a_jpeg(tmp_path: Path) -> None:
    [made] = converted(tmp_path, saved(Image.effect_noise((2000, 2000), 90).convert("RGB"), "BMP"))
    assert (made.format, made.size) == ("JPEG", (2000, 2000))


def test_many_pages_are_small_enough_for_one_request(tmp_path: Path) -> None:
    pages = [Image.new("1", (2500, 100))] * 21
    many = saved(pages[0], "TIFF", *pages[1:], compression="group4")
    assert {one.width for one in converted(tmp_path, many)} == {2000}
    (tmp_path / "b").write_bytes(saved(pages[0], "TIFF", *pages[1:11], compression="group4"))
    assert len(sent_blocks(tmp_path, CONVERTED, CONVERTED, path="b")) == 22
    assert {one.width for one in converted(tmp_path, (tmp_path / "b").read_bytes())} == {2500}


def test_too_many_pages_are_rejected_before_they_are_converted(tmp_path: Path) -> None:
    pages = [Image.new("1", (1, 1))] * 601
    (tmp_path / "a").write_bytes(saved(pages[0], "TIFF", *pages[1:]))
    problem = "a has 601 pages, and 600 is the most: send some with `pages`"
    assert blocks_problem(tmp_path, CONVERTED, path="a") == problem


def test_no_image_is_rejected_with_what_can_be_converted(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"BM is how this text begins")
    problem = (
        "a is text/plain, and `convert` reads images and PDFs: replace it, or leave it out with `where`, "
        "for example `path != 'a'`"
    )
    assert blocks_problem(tmp_path, CONVERTED, path="a") == problem


def test_pages_of_a_pdf_are_drawn(tmp_path: Path) -> None:
    drawn = converted(tmp_path, pdf(3), pages="2-")
    assert [(one.format, one.mode, one.size) for one in drawn] == [("PNG", "RGB", (2576, 1718))] * 2
    assert drawn[0].convert("L").getextrema() == (0, 255), "black text on white paper"
    assert converted(tmp_path, pdf(22))[0].size == (2000, 1334)
    assert "block of the type document, or set" in blocks_problem(tmp_path, IMAGE_BLOCK, path="a")


def test_pdf_that_cannot_be_read_is_not_drawn(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf()[:200])
    assert blocks_problem(tmp_path, CONVERTED, path="a.pdf").startswith("a.pdf is no PDF that can be read")
    (tmp_path / "a.pdf").write_bytes(b"<!DOCTYPE html>")
    found = blocks_problem(tmp_path, CONVERTED, path="a.pdf")
    assert found.startswith("a.pdf is text/plain, and `convert` reads images and PDFs")


def test_conversion_is_equal_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(saved(COLORS, "TIFF", NOISE.convert("CMYK"), dpi=(300, 300)))
    code = "import sys; from runner.requests.convert_image import convert_image as c; "
    code += "data = open('a.tif', 'rb').read(); "
    code += "sys.stdout.buffer.write(b''.join(c(data, 'image/tiff', 'a', pages=None, among_many=False)))"
    made = outputs_by_zone(tmp_path, code)
    assert len(made) == 1 and b"".join(made).count(b"IEND") == 2
