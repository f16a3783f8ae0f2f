"""Work is split into parts for tasks, and errors come in the order of the parts."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from runner.errors import InputError, Interrupted, Problem
from runner.workers.run_tasks import open_workers, run_tasks, split_work
from runner.workers.tasks import Stop


def test_part_ends_with_500_items() -> None:
    assert [len(part) for part in split_work(range(1_200), lambda _: 1)] == [500, 500, 200]


def test_part_ends_once_it_has_a_megabyte() -> None:
    assert list(split_work("abcde", lambda _: 600_000)) == [["a", "b"], ["c", "d"], ["e"]]


def test_no_work_has_no_part() -> None:
    assert list(split_work([], len)) == []


def double(_: bytes, numbers: list[int]) -> list[int]:
    return [2 * number for number in numbers]


def test_error_of_an_item_comes_after_the_results_before_it() -> None:
    def count() -> Iterator[int]:
        yield from range(600)
        raise InputError([Problem("source", "damaged")])

    stop, found = Stop(bool, "stopped"), list[int]()
    with (
        ThreadPoolExecutor(2) as pool,
        open_workers(pool, stop) as workers,
        pytest.raises(InputError, match="damaged"),
    ):
        for _, done in run_tasks(workers, double, b"", split_work(count(), lambda _: 1), stop):
            found += done.result
    assert found == list(range(0, 1_200, 2))


def test_stop_ends_tasks_that_are_done_before_they_are_asked_for() -> None:
    wanted = Event()
    stop, found = Stop(wanted.is_set, "stopped"), list[int]()
    with (
        ThreadPoolExecutor(2) as pool,
        open_workers(pool, stop) as workers,
        pytest.raises(Interrupted, match="stopped"),
    ):
        for _, done in run_tasks(workers, double, b"", split_work(range(1_200), lambda _: 1), stop):
            found += done.result
            pool.shutdown()
            wanted.set()
    assert len(found) == 500
