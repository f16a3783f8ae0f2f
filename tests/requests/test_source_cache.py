"""Files that many rows attach are read and converted once or, if they are large, twice."""

from collections.abc import Callable
from pathlib import Path

from PIL import Image

from runner import Summary
from tests.support.files import pdf
from tests.support.outputs import records
from tests.support.projects import write_job
from tests.support.prompts import PATH_BLOCK, encode_blocks_with
from tests.support.simulator import paid

CONVERTED = {"type": "image", "path": "{{ path }}", "convert": True}


def test_large_conversion_is_made_at_most_twice(tmp_path: Path) -> None:
    pages = [Image.effect_noise((1500, 1500), 90) for _ in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    encode = encode_blocks_with(tmp_path, CONVERTED)
    first = encode(path="a.tif")
    assert len(first.params.sent) > 8_000_000, "more than stays in memory"
    assert encode(path="a.tif") == first
    (tmp_path / "a.tif").unlink()
    assert [encode(path="a.tif") == first for _ in range(3)] == [True] * 3


def test_small_conversion_is_made_once(tmp_path: Path) -> None:
    Image.new("L", (9, 9)).save(tmp_path / "a.bmp")
    encode = encode_blocks_with(tmp_path, CONVERTED)
    first = encode(path="a.bmp")
    (tmp_path / "a.bmp").unlink()
    assert (first.problem, encode(path="a.bmp")) == (None, first)


def test_one_file_with_other_settings_is_another_source(tmp_path: Path) -> None:
    Image.new("L", (9, 9)).save(tmp_path / "a.tif", save_all=True, append_images=[Image.new("L", (5, 5))])
    one, other = ({**CONVERTED, "pages": pages, "cache": cache} for pages, cache in (("1", "5m"), ("2", "1h")))
    encode = encode_blocks_with(tmp_path, one, other, {**CONVERTED, "pages": "{{ pages }}"})
    assert encode(path="a.tif", pages="1").params != encode(path="a.tif", pages="2").params
    assert encode(path="a.tif", pages="2").params.sent.count(b'"ttl":"1h"') == 1


def test_unchanged_conversion_is_reused_by_a_later_run(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    for number in range(3):
        Image.new("L", (9, 9), number).save(tmp_path / f"{number}.tif")
    source = {"type": "files", "path": "*.tif", "key": "name"}
    write_job(tmp_path, source=source, prompt={"user": [CONVERTED, {"type": "text", "text": "{{ name }}?"}]})
    assert run_job().outcomes == {"succeeded": 3}
    Image.new("L", (9, 9), 200).save(tmp_path / "1.tif")
    assert run_job().outcomes == {"succeeded": 3}
    assert sum(paid(tmp_path / "api").values()) == 4
    assert run_job(new=True).outcomes == {"succeeded": 3}
    assert sum(paid(tmp_path / "api").values()) == 4 and len(records(tmp_path / "out/all.jsonl")) == 3


def test_selected_pages_of_a_shared_file_are_copied_once(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf(9))
    encode = encode_blocks_with(tmp_path, {**PATH_BLOCK, "pages": "{{ pages }}"})
    first = [encode(path="a.pdf", pages=pages) for pages in ("1", "2-3")]
    (tmp_path / "a.pdf").unlink()
    assert [encode(path="a.pdf", pages=pages) for pages in ("1", "2-3")] == first
    assert encode(path="a.pdf", pages="4").problem == "a.pdf cannot be read: No such file or directory"
