"""Requests are packed in order and within the limits, and a custom_id maps to one row of its own batch."""

import hashlib
import json
import re
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.requests.custom_id import make_custom_id, parse_row_number
from runner.requests.pack import Body, max_params_bytes, pack_requests
from runner.requests.stored_params import plain_params


def pack_bodies(folder: Path, params: Sequence[bytes], *, max_requests: int, max_bytes: int) -> list[Body]:
    """The bodies of requests for the rows 1, 2, 3 and so on."""
    pairs = enumerate(map(plain_params, params), 1)
    limits = {"max_requests": max_requests, "max_bytes": max_bytes}
    return list(pack_requests(pairs, run="r", round=1, folder=folder, **limits))


def sized(size: int) -> bytes:
    """Params of exactly `size` bytes; at least 2."""
    return b'"' + b"x" * (size - 2) + b'"'


def counts(bodies: Sequence[Body]) -> list[int]:
    """The number of requests in each body."""
    return [len(body.requests) for body in bodies]


def packed(bodies: Sequence[Body]) -> list[tuple[str, Any]]:
    """Every (custom_id, params) in the files, in order."""
    documents = [json.loads(body.path.read_bytes()) for body in bodies]
    return [(item["custom_id"], item["params"]) for document in documents for item in document["requests"]]


@settings(max_examples=80, deadline=None)
@given(
    sizes=st.lists(st.integers(2, 400), max_size=150),
    max_requests=st.sampled_from([1, 2, 3, 7, 64, 65, 1000]),
    max_bytes=st.integers(520, 4000),
)
def test_packing_keeps_every_row_in_order_within_the_limits(
    sizes: list[int], max_requests: int, max_bytes: int
) -> None:
    params = [sized(size) for size in sizes]
    with tempfile.TemporaryDirectory() as folder:
        bodies = pack_bodies(Path(folder), params, max_requests=max_requests, max_bytes=max_bytes)
        found = [params for _, params in packed(bodies)]
    assert found == [json.loads(each) for each in params]
    assert [row for body in bodies for row, _, _ in body.requests] == list(range(1, len(sizes) + 1))
    assert all(1 <= len(body.requests) <= max_requests and body.bytes <= max_bytes for body in bodies)


def test_body_gives_the_offset_and_bytes_of_each_params(tmp_path: Path) -> None:
    params = [json.dumps({"text": "é\u2028" * n}, ensure_ascii=False).encode() for n in range(200)]
    bodies = pack_bodies(tmp_path, params, max_requests=70, max_bytes=10**6)
    for body in bodies:
        data = body.path.read_bytes()
        assert (body.bytes, body.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert all(data[at : at + size] == params[row - 1] for row, at, size in body.requests)
    assert sum(counts(bodies)) == 200


def test_body_is_numbered_and_has_one_request_per_line(tmp_path: Path) -> None:
    bodies = pack_bodies(tmp_path, [sized(9)] * 5, max_requests=3, max_bytes=10**6)
    assert [(body.batch, body.path.name) for body in bodies] == [(1, "1-1.json"), (2, "1-2.json")]
    assert [id for id, _ in packed(bodies)] == ["r-1-1-1", "r-1-1-2", "r-1-1-3", "r-1-2-4", "r-1-2-5"]
    assert bodies[0].path.read_bytes().count(b"\n") == 3 + 1


def test_no_request_gives_no_body(tmp_path: Path) -> None:
    assert pack_bodies(tmp_path, [], max_requests=3, max_bytes=1000) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("spare", "expected"), [(0, [3]), (1, [3]), (-1, [2, 1])])
def test_a_body_that_fits_exactly_is_filled_to_the_last_byte(
    tmp_path: Path, spare: int, expected: list[int]
) -> None:
    params = [sized(50)] * 3
    (whole,) = pack_bodies(tmp_path, params, max_requests=3, max_bytes=10**6)
    bodies = pack_bodies(tmp_path, params, max_requests=3, max_bytes=whole.bytes + spare)
    assert counts(bodies) == expected
    assert all(body.bytes <= whole.bytes + spare for body in bodies)


@pytest.mark.parametrize("around", [(0, 0), (0, 3), (3, 0), (2, 2)])
def test_huge_row_gets_its_own_body(tmp_path: Path, around: tuple[int, int]) -> None:
    before, after = around
    params = [sized(99)] * before + [sized(max_params_bytes(5000))] + [sized(99)] * after
    bodies = pack_bodies(tmp_path, params, max_requests=10, max_bytes=5000)
    assert [len(value) for _, value in packed(bodies)] == [len(each) - 2 for each in params]
    assert [1] in [[row - before for row, _, _ in body.requests] for body in bodies]
    assert all(body.bytes <= 5000 for body in bodies)


@pytest.mark.parametrize("row", [1, 2, 3])
def test_params_too_large_for_a_body_end_the_packing(tmp_path: Path, row: int) -> None:
    params = [sized(50)] * (row - 1) + [sized(500), sized(50)]
    requests = enumerate(map(plain_params, params), 1)
    bodies = pack_requests(requests, run="r", round=1, folder=tmp_path, max_requests=5, max_bytes=200)
    with pytest.raises(ValueError, match=f"the request of row {row} does not fit into 200 bytes"):
        list(islice(bodies, 5))


def test_the_largest_params_fit_with_the_longest_id(tmp_path: Path) -> None:
    run = "r" * (64 - len("-1-1-1"))
    pairs = [(1, plain_params(sized(max_params_bytes(700))))]
    (body,) = pack_requests(pairs, run=run, round=1, folder=tmp_path, max_requests=1, max_bytes=700)
    assert len(packed([body])[0][0]) == 64
    assert 690 < body.bytes <= 700


@pytest.mark.parametrize("size", [10, 3 << 20], ids=["small rows", "rows that fill what is held back"])
def test_batches_of_one_round_get_distinct_counts(tmp_path: Path, size: int) -> None:
    params = [sized(size)] * (2500 if size == 10 else 25)
    limit = 400 if size == 10 else 10
    found = counts(pack_bodies(tmp_path, params, max_requests=limit, max_bytes=10**9))
    assert len(set(found)) == len(found) and len(found) > 2
    assert sum(found) == len(params)


def test_batches_limited_by_bytes_get_distinct_counts(tmp_path: Path) -> None:
    found = counts(pack_bodies(tmp_path, [sized(50)] * 2000, max_requests=10_000, max_bytes=10_000))
    assert len(set(found)) == len(found) and len(found) > 10
    assert sum(found) == 2000


def test_requests_are_read_lazily(tmp_path: Path) -> None:
    taken: list[int] = []
    params = plain_params(sized(9))
    pairs = ((row, params) for row in range(1, 1000) if taken.append(row) is None)  # type: ignore[func-returns-value]
    bodies = pack_requests(pairs, run="r", round=1, folder=tmp_path, max_requests=10, max_bytes=10**6)
    assert len(next(bodies).requests) == 10
    assert len(taken) <= 11


@given(st.integers(0, 10**9), st.integers(1, 99), st.integers(1, 10**5))
def test_custom_id_maps_to_a_row_of_its_own_batch_only(row: int, round: int, batch: int) -> None:
    made = make_custom_id("20261122-abc", round, batch, row)
    assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", made)
    assert parse_row_number(made, prefix=make_custom_id("20261122-abc", round, batch, 0)[:-1]) == row
    assert parse_row_number(made, prefix=make_custom_id("20261122-abc", round, batch + 1, 0)[:-1]) is None


@pytest.mark.parametrize("end", ["", "x", "-3", "3 ", "٣", "²", "1e3", "3-4", "0x1", "+1", "01", "9" * 5000])
def test_id_without_a_row_number_maps_to_no_row(end: str) -> None:
    assert parse_row_number(f"r-1-2-{end}", prefix="r-1-2-") is None
