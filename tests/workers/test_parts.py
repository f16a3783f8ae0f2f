"""How work is split into parts for tasks."""

from runner.workers.run_tasks import split_work


def test_part_ends_with_500_items() -> None:
    assert [len(part) for part in split_work(range(1_200), lambda _: 1)] == [500, 500, 200]


def test_part_ends_once_it_has_a_megabyte() -> None:
    assert list(split_work("abcde", lambda _: 600_000)) == [["a", "b"], ["c", "d"], ["e"]]


def test_no_work_has_no_part() -> None:
    assert list(split_work([], len)) == []
