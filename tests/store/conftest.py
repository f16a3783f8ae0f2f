"""States in SQLite, and in PostgreSQL where it is installed."""

from pathlib import Path

import pytest

from runner.store.place import StatePlace


@pytest.fixture
def shared(tmp_path: Path, postgres_url: str) -> StatePlace:
    """A state that several machines share."""
    return StatePlace(tmp_path / ".runner", postgres_url, f"file://{tmp_path}/files", str(tmp_path))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.server)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> StatePlace:
    """A state of each kind."""
    if request.param == "sqlite":
        return StatePlace(tmp_path / ".runner")
    shared: StatePlace = request.getfixturevalue("shared")
    return shared
