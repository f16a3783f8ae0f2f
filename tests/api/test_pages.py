"""Lists of batches that contradict themselves are not taken for the whole truth."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runner import Summary
from runner.api.pages import MAX_PAGES, read_pages
from runner.api.remote_batch import BatchList
from runner.errors import Unavailable
from tests.support.hostile.server import batch, hostile_api, response
from tests.support.projects import EACH_ONCE, ROWS
from tests.support.simulator import paid


def at(minute: int, id: str) -> dict[str, Any]:
    return batch(id, created_at=f"2026-11-26T12:{minute:02}:00Z")


def page(*batches: dict[str, Any], more: bool = True, **changes: Any) -> dict[str, Any]:
    return {"data": list(batches), "has_more": more, "last_id": batches[-1]["id"] if batches else None, **changes}


def list_ids(*pages: dict[str, Any]) -> list[str]:
    """The ids listed from a server that sends these pages, the last one for ever."""
    left = list(pages)
    with hostile_api(lambda _, __: response(left.pop(0) if len(left) > 1 else left[0])) as api:
        return [one.id for one in api.list_batches(created_after=0)]


A, B = page(at(30, "a")), page(at(20, "b"))


@pytest.mark.parametrize(
    "pages",
    [
        (A, page(at(20, "b"), last_id=None)),
        (A, page()),
        (A, B, A, B),
        (A, A),
        (page(at(30, "a"), at(30, "b")), page(at(30, "b"), more=False)),
        (A, page(at(40, "b"), more=False)),
        (page(at(10, "a"), at(40, "b"), more=False),),
        (page(at(10, "a"), last_id="z"), page(more=False)),
    ],
)
def test_list_that_contradicts_itself_is_unavailable(pages: tuple[dict[str, Any], ...]) -> None:
    with pytest.raises(Unavailable, match="cannot be relied on"):
        list_ids(*pages)


def test_old_batch_in_front_does_not_hide_ours() -> None:
    unordered = page(at(10, "old"), at(40, "ours"), more=False)
    with hostile_api(lambda _, __: response(unordered)) as api, pytest.raises(Unavailable, match="newer than"):
        list(api.list_batches(created_after=1_795_695_600.0))


def test_batches_of_the_same_instant_are_listed_across_pages() -> None:
    assert list_ids(A, page(at(30, "b")), page(at(30, "c"), at(2, "d"), more=False)) == ["a", "b", "c", "d"]


def test_list_may_be_unordered_by_the_skew_of_clocks() -> None:
    left = [page(at(30, "a"), at(34, "b")), page(at(33, "c")), page(at(20, "d"))]
    with hostile_api(lambda _, __: response(left.pop(0))) as api:
        assert [one.id for one in api.list_batches(created_after=1_795_696_320.0)] == ["b", "c"]


def test_list_without_end_is_bounded() -> None:
    names = (f"b{number}" for number in count(1))

    def fetch_next(_: dict[str, Any]) -> tuple[BatchList, dict[str, str]]:
        return msgspec.convert(page(at(30, next(names))), BatchList, strict=False), {}

    with pytest.raises(Unavailable, match="pages"):
        list(read_pages(fetch_next, created_after=0))
    assert next(names) == f"b{MAX_PAGES + 1}"


@pytest.mark.parametrize("fault", ["list-no-cursor:3", "list-unordered:3"])
def test_broken_list_never_leads_to_paying_twice(
    tmp_path: Path, run_job: Callable[..., Summary], fault: str
) -> None:
    assert run_job(faults=["accept-then-drop", fault]).outcomes == {"succeeded": ROWS}
    assert paid(tmp_path / "api") == EACH_ONCE
