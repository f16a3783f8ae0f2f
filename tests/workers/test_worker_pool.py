"""Workers that a run needs after it was sent."""

import pytest

from runner.errors import RunnerError
from runner.notify.events import find_event
from runner.workers.run_tasks import WorkerPool
from runner.workers.tasks import Stop


def test_receivers_are_told_of_workers_that_are_gone() -> None:
    pool = WorkerPool("dask:/gone", Stop(bool, "stopped"))
    with pytest.raises(RunnerError, match="'dask:/gone' is neither") as error:
        pool.open()
    assert find_event(error.value) == "failed"
