"""Rows are packed into blocks whose size stays within the room of a page."""

import base64
import random
import tempfile
import zlib
from typing import Any

import msgspec
import pytest

from runner.lifecycle.deliver.row_results import RowResult
from runner.report.page import rows as packed
from runner.report.page.rows import RowPacker, open_packer
from runner.results.outcome import Outcome


def row(number: int, *, text: str = "hello", outcome: str = "succeeded") -> RowResult:
    error = None if outcome == "succeeded" else {"type": outcome, "message": f"label: wrong in row {number}"}
    found = Outcome("", outcome, {"label": "good"}, error, cause="label: wrong")
    fields = msgspec.Raw(msgspec.json.encode({"text": text}))
    return RowResult(number, f"r{number}", fields, outcome, found, None, None, None, None)


def unpack(text: str) -> Any:
    return msgspec.json.decode(zlib.decompress(base64.b64decode(text)))


def test_blocks_hold_columns_and_the_index_outcomes() -> None:
    with open_packer(rows=3, failed=1) as packer:
        for number in range(1, 4):
            packer.add(row(number, outcome="invalid" if number == 2 else "succeeded"))
        index = unpack(packer.finish())
        [block] = (unpack(one.rows) for one in packer.blocks())
    assert [index["outcomes"][code] for code in index["outcome"]] == ["succeeded", "invalid", "succeeded"]
    assert index["reasons"][index["reason"][1]] == "invalid: label: wrong"
    assert block["key"] == ["r1", "r2", "r3"] and block["message"][1] == "label: wrong in row 2"
    assert block["input"] == [["text", ["hello"] * 3]] and block["output"] == [["label", ["good"] * 3]]


def test_long_texts_are_cut_as_far_as_they_do_not_fit() -> None:
    chance = random.Random(1)
    with tempfile.TemporaryFile() as file:
        packer = RowPacker(file, rows=8_000, failed=0)
        for number in range(8_000):
            packer.add(row(number, text=chance.randbytes(1_500).hex()))
        packer.finish()
        size = file.seek(0, 2)
        assert packer.is_cut and packer.kept == 8_000
        assert 5_000_000 < size < 9_500_000
        shown = unpack(next(packer.blocks()).rows)["input"][0][1][0]
    assert shown.endswith("…") and len(shown) > 200


def test_whole_numbers_stay_exact() -> None:
    found = RowResult(1, "r1", msgspec.Raw(b'{"n": 9007199254740993, "m": 7}'), None, None, None, None, None, None)
    with open_packer(rows=1, failed=0) as packer:
        packer.add(found)
        packer.finish()
        [block] = (unpack(one.rows) for one in packer.blocks())
    assert block["input"] == [["n", ["9007199254740993"]], ["m", [7]]]


def test_short_texts_stay_whole() -> None:
    with open_packer(rows=1_000, failed=0) as packer:
        for number in range(1_000):
            packer.add(row(number, text="x" * 15_000))
        packer.finish()
        assert not packer.is_cut


@pytest.mark.parametrize(("failed", "kept"), [(0, 100_000), (60_000, 100_000), (10, 100_000)])
def test_failed_rows_are_kept_of_very_many(failed: int, kept: int) -> None:
    good, bad, total = row(1), row(2, outcome="invalid"), 200_000
    with open_packer(rows=total, failed=failed) as packer:
        for number in range(total):
            packer.add(bad if number >= total - failed else good)
        index = unpack(packer.finish())
    outcomes = [index["outcomes"][code] for code in index["outcome"]]
    assert len(outcomes) == packer.kept == kept
    assert outcomes.count("invalid") == min(failed, packed.MAX_FAILED)
