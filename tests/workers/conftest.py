"""A cluster for each test that asks for one."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.workers.dask_cluster import Cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A scheduler without workers."""
    pytest.importorskip("distributed")
    folder = tmp_path / "cluster"
    folder.mkdir()
    with ExitStack() as processes:
        found = Cluster(folder, processes)
        found.scheduler = found.start("dask_scheduler", "--port", "0", "--scheduler-file", "scheduler.json")
        yield found
