"""A kill between the end of a run and its message loses nothing."""

from pathlib import Path

import pytest

from tests.notify.kills import prove


@pytest.mark.slow
def test_kill_around_the_end_of_a_run_loses_no_event(tmp_path: Path) -> None:
    *_, (kills, runs, _) = prove(tmp_path, 6, seed=7)
    assert kills >= 6
    assert runs
