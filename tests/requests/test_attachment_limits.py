"""Attachments are held to the API's limits."""

from pathlib import Path

import pytest

from tests.support.files import image, pdf
from tests.support.prompts import IMAGE_BLOCK, PATH_BLOCK, blocks_problem, encode_blocks


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
    weights = [len(one.params) + one.size_adjustment for one in (small, large)]
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
