"""The number of processes that `auto` means."""

from runner.workers.tasks import AUTO, AUTO_ROWS, choose_jobs, count_processors


def test_auto_is_one_process_for_few_rows() -> None:
    assert choose_jobs(AUTO, AUTO_ROWS - 1) == 1


def test_auto_is_a_process_per_processor_for_many_rows() -> None:
    assert choose_jobs(AUTO, AUTO_ROWS) == count_processors()


def test_a_given_number_of_processes_is_kept() -> None:
    assert (choose_jobs(3, 1), choose_jobs("dask://host:1", 1)) == (3, "dask://host:1")
