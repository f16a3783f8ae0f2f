"""A job whose run has begun in its folder, and a shared state that it can move to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import RUN, command
from tests.support.projects import write_job
from tests.support.simulator import end_batches, simulator


@pytest.fixture
def shared(tmp_path: Path, postgres_url: str) -> dict[str, str]:
    """The settings of a shared state, as variables."""
    url = f"file://{tmp_path}/bucket/the runs"
    return {"RUNNER_STATE": postgres_url, "RUNNER_FILES": url, "RUNNER_PROJECT": f"{tmp_path.name} {tmp_path}"}


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A run that was sent from the folder and is not finished; the environment of its API."""
    write_job(tmp_path)
    with simulator(tmp_path / "api", seconds=600) as environ:
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
    end_batches(tmp_path / "api")
    with simulator(tmp_path / "api", seconds=0.2) as environ:
        yield environ


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """The same project on a machine that has none of its runs."""
    root = tmp_path / "other machine"
    write_job(root)
    return root
