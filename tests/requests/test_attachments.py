"""Documents and images of a row: encoded, detected by their bytes, held to the API's limits, or reported."""

import base64
import io
import os
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from runner import Summary
from runner.requests.encode import EncodedRequest
from runner.requests.stored_params import plain_params
from tests.support.files import image, pdf
from tests.support.projects import write_job
from tests.support.prompts import (
    IMAGE_BLOCK,
    PATH_BLOCK,
    blocks_problem,
    encode_blocks,
    encode_blocks_with,
    sent_blocks,
)


def test_document_block_has_bytes_and_all_settings(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(pdf(2))
    block = {**PATH_BLOCK, "title": "{{ who }}", "context": "of {{ who }}", "citations": True, "cache": "1h"}
    text = {"type": "text", "text": "{{ who }}?", "cache": "5m"}
    assert sent_blocks(tmp_path, block, text, path="a.bin", who='A"') == [
        {
            "type": "document",
            "source": {
                "type": "base64",
                "media_type": "application/pdf",
                "data": base64.b64encode(pdf(2)).decode(),
            },
            "title": 'A"',
            "context": 'of A"',
            "citations": {"enabled": True},
            "cache_control": {"type": "ephemeral", "ttl": "1h"},
        },
        {"type": "text", "text": 'A"?', "cache_control": {"type": "ephemeral", "ttl": "5m"}},
    ]


@pytest.mark.parametrize(
    ("block", "row", "source"),
    [
        ({"url": "{{ u }}"}, {"u": "https://x.org/a.pdf"}, {"type": "url", "url": "https://x.org/a.pdf"}),
        ({"file_id": "{{ i }}"}, {"i": "file_011"}, {"type": "file", "file_id": "file_011"}),
        ({"text": "{{ t }}"}, {"t": "é\n"}, {"type": "text", "media_type": "text/plain", "data": "é\n"}),
        ({"base64": "{{ b }}"}, {"b": base64.b64encode("é".encode()).decode()},
         {"type": "text", "media_type": "text/plain", "data": "é"}),
    ],
)  # fmt: skip
def test_a_document_can_be_a_url_an_id_a_text_or_bytes(
    tmp_path: Path, block: dict[str, str], row: dict[str, str], source: dict[str, str]
) -> None:
    assert sent_blocks(tmp_path, {"type": "document", **block}, **row) == [{"type": "document", "source": source}]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_image_type_is_detected_from_bytes(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.pdf").write_bytes(image(kind=kind))
    [block] = sent_blocks(tmp_path, IMAGE_BLOCK, path="a.pdf")
    assert block["source"]["media_type"] == f"image/{kind.lower()}"


def header(width: int, height: int) -> bytes:
    """The beginning of a PNG of this size: all that is looked at."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return start + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


FILES: dict[str, tuple[dict[str, str], Callable[[], bytes], str]] = {
    "absent": (PATH_BLOCK, bytes, "a cannot be read: No such file or directory"),
    "empty": (PATH_BLOCK, bytes, "a is empty"),
    "an image as a document": (
        PATH_BLOCK,
        image,
        "a is image/png, and a document is a PDF or UTF-8 text: make it a block",
    ),
    "a PDF as an image": (IMAGE_BLOCK, pdf, "a is application/pdf, and an image is png, jpeg, gif or webp"),
    "a damaged PDF": (PATH_BLOCK, lambda: b"%PDF-1.4 and no more", "a is no PDF that can be read"),
    "a damaged image": (IMAGE_BLOCK, lambda: image()[:20], "a is no image that can be read"),
    "no text": (
        PATH_BLOCK,
        lambda: b"\0\1\2",
        "a is application/octet-stream, and a document is a PDF or UTF-8 text",
    ),
    "text that is none in the end": (
        PATH_BLOCK,
        lambda: b"x" * 9000 + b"\xff",
        "a is neither a PDF nor UTF-8 text",
    ),
    "too many pages": (PATH_BLOCK, lambda: pdf(601), "it has 601 pages and images, and 600 is the most: send"),
    "too wide": (
        IMAGE_BLOCK,
        lambda: image(8001, 1),
        "an image is 8,001 pixels wide or high, and 8,000 is the most",
    ),
    "too many pixels": (IMAGE_BLOCK, lambda: header(20_000, 10_000), "pixels"),
    "prose about PDFs": (IMAGE_BLOCK, lambda: b"as in %PDF-1.7", "a is text/plain, and an image is png"),
    "too large": (IMAGE_BLOCK, lambda: image() + b"\0" * 4_000_000, "a has 4,000,0"),
}


def noise(kind: str) -> bytes:
    """An image whose every part matters."""
    made = io.BytesIO()
    Image.effect_noise((400, 300), 80).convert("RGB").save(made, kind)
    return made.getvalue()


@pytest.mark.parametrize("share", [0.34, 0.9, 0.99])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_image_that_is_cut_short_is_rejected(tmp_path: Path, kind: str, share: float) -> None:
    data = noise(kind)
    (tmp_path / "a").write_bytes(data[: int(len(data) * share)])
    assert "a is no image that can be read" in blocks_problem(tmp_path, IMAGE_BLOCK, path="a")
    (tmp_path / "b").write_bytes(data)
    assert sent_blocks(tmp_path, IMAGE_BLOCK, path="b")[0]["source"]["media_type"] == f"image/{kind.lower()}"


@pytest.mark.parametrize("data", [b"<!DOCTYPE html><title>404 Not Found</title>", b"Not found", b"{}"])
def test_file_that_is_only_named_pdf_is_rejected(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.PDF").write_bytes(data)
    start = repr(data.decode()[:40])
    expected = f"a.PDF is no PDF, although its name says so: it begins with {start}"
    assert expected in blocks_problem(tmp_path, PATH_BLOCK, path="a.PDF")
    (tmp_path / "a.html").write_bytes(data)
    assert sent_blocks(tmp_path, PATH_BLOCK, path="a.html")[0]["source"]["type"] == "text"


def test_image_that_is_named_pdf_is_told_as_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(image())
    problem = blocks_problem(tmp_path, PATH_BLOCK, path="a.pdf")
    assert problem == (
        "a.pdf is image/png, whatever its name says, and a document is a PDF or UTF-8 text: make it a block of "
        "the type image"
    )


@pytest.mark.parametrize("case", FILES)
def test_unusable_file_is_a_problem_of_its_row(tmp_path: Path, case: str) -> None:
    block, make, words = FILES[case]
    if case != "absent":
        (tmp_path / "a").write_bytes(make())
    assert words in blocks_problem(tmp_path, block, path="a")


@pytest.mark.parametrize("upload", [True, False])
def test_shared_file_is_read_once_while_memory_allows(tmp_path: Path, upload: bool) -> None:
    for name, size in (("a", 200_000), ("b", 7_000_000), ("c", 7_000_000)):
        (tmp_path / name).write_bytes(pdf(3, size=size))
    encode = encode_blocks_with(tmp_path, {**PATH_BLOCK, "upload": upload})
    first = encode(path="a")
    assert (encode(path="none").params.sent, first.size_adjustment == 3 * 8_000) == (b"", upload)
    (tmp_path / "a").unlink()
    (tmp_path / "none").write_bytes(pdf())
    assert (encode(path="a"), encode(path="none").params.sent) == (first, b"")
    for path in "bcd":
        encode(path=path)
    assert encode(path="a") == (
        first if upload else EncodedRequest(plain_params(b""), 0, "a cannot be read: No such file or directory")
    )


def test_edited_file_in_a_folder_starts_a_new_run(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("one")
    prompt = {"user": [{"type": "document", "path": "a.txt", "folder": "docs"}]}
    write_job(tmp_path, rows=2, prompt=prompt, allow=["constant-prompt"])
    first = run_job()
    assert run_job().run == first.run
    (tmp_path / "docs" / "a.txt").write_text("two")
    assert run_job().run != first.run


@pytest.mark.parametrize("kind", ["fifo", "folder", "loop"])
def test_special_file_is_a_problem_of_its_row(tmp_path: Path, kind: str) -> None:
    make = {"fifo": os.mkfifo, "folder": os.mkdir, "loop": lambda path: path.symlink_to("a")}
    make[kind](tmp_path / "a")
    assert re.search("a is no regular file|a cannot be read: ", blocks_problem(tmp_path, PATH_BLOCK, path="a"))


def test_limits_apply_to_the_whole_request(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(pdf(60))
    (tmp_path / "b").write_bytes(image(2001, 1))
    other = {**PATH_BLOCK, "path": "{{ path }}"}
    assert encode_blocks(tmp_path, *[other] * 10, path="a").problem is None
    assert blocks_problem(tmp_path, *[other] * 11, path="a").startswith("it has 660 pages and images")
    assert encode_blocks(tmp_path, *[IMAGE_BLOCK] * 20, path="b").problem is None
    assert blocks_problem(tmp_path, *[IMAGE_BLOCK] * 21, path="b") == (
        "an image is 2,001 pixels wide or high among 21 images, and 2,000 is the most"
    )


def test_document_size_is_estimated_per_page(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(pdf(2))
    (tmp_path / "large").write_bytes(pdf(2, size=300_000))
    small, large = (encode_blocks(tmp_path, PATH_BLOCK, path=name) for name in ("small", "large"))
    weights = [len(one.params.sent) + one.size_adjustment for one in (small, large)]
    assert weights[0] == weights[1]
    assert 2 * 8000 < weights[0] < 2 * 8000 + 500
    by_url = encode_blocks(tmp_path, {"type": "document", "url": "https://x.org/a"})
    assert by_url.size_adjustment == 20 * 8000


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"text": " {{ t }} "}, "text is empty"),
        ({"url": "ftp://x/a"}, "ftp://x/a is no URL that the API reads"),
        ({"url": "not a url"}, "not a url is no URL that the API reads"),
        ({"path": "a", "folder": "absent"}, "the folder absent is not there"),
    ],
)
def test_content_the_api_would_reject_is_a_problem_of_its_row(
    tmp_path: Path, block: dict[str, str], words: str
) -> None:
    assert words in blocks_problem(tmp_path, {"type": "document", **block}, t="\n")


def test_file_too_large_for_any_body_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(180_000_000)
    assert blocks_problem(tmp_path, PATH_BLOCK, path="a").startswith(
        "a has 180,000,000 bytes, and 150,000,000 is the most: make it"
    )


def test_pdf_with_a_false_page_count_counts_real_pages(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(pdf(50).replace(b"/Count 50", b"/Count 1 "))
    assert encode_blocks(tmp_path, PATH_BLOCK, path="a").size_adjustment > 48 * 8000
