"""A `.sent` mark that an older version wrote is understood."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from runner import Summary
from tests.support.processes import RUN, command
from tests.support.projects import BATCHES, EACH_ONCE, forget_queue, write_job
from tests.support.simulator import end_batches, paid, simulator

OLD_NAMES = {"search_started_at": "unknown_at", "search_started_local": "unknown_since"}
ABSENT = ("assumed_unsent_at", "local_at", "newest_at")
"""Fields that marks of state version 4 and older do not have."""


def make_old(mark: Path) -> None:
    """Rewrite a mark as version 4 of the state wrote it."""
    intent = json.loads(mark.read_text())
    assert OLD_NAMES.keys() <= intent.keys()
    old = {OLD_NAMES.get(name, name): value for name, value in intent.items() if name not in ABSENT}
    mark.write_text(json.dumps(old))


def test_mark_of_older_version_prevents_a_second_create(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path)
    run_job(faults=["max-queue:0"], wait=False)
    forget_queue(tmp_path)
    shutil.copy(tmp_path / ".runner" / "state.db", tmp_path / "before.db")
    with simulator(tmp_path / "api", seconds=600) as environ:
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
    shutil.copy(tmp_path / "before.db", tmp_path / ".runner" / "state.db")
    marks = list((tmp_path / ".runner").rglob("*.sent"))
    assert len(marks) == BATCHES
    for mark in marks:
        make_old(mark)
    end_batches(tmp_path / "api")
    moments: list[str] = []
    assert run_job(on=moments.append).outcomes == {"succeeded": 20}
    assert (paid(tmp_path / "api"), "create" in moments) == (EACH_ONCE, False)
