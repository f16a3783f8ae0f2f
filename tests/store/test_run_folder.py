"""The folder of a state: one runner at a time, and readable snapshots."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from runner import Summary
from runner.errors import StateError, StateLocked
from runner.store.open_store import open_store
from tests.support.projects import SPEC
from tests.support.simulator import accepted


def test_lost_database_is_not_recreated_over_existing_runs(
    tmp_path: Path, run_job: Callable[..., Summary]
) -> None:
    run_job(wait=False)
    for path in (tmp_path / ".runner").glob("state.db*"):
        path.unlink()
    with pytest.raises(StateError, match="is missing or empty"):
        run_job()
    assert accepted(tmp_path / "api") == 3


def test_two_runners_never_share_a_state(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    with open_store(tmp_path / ".runner"), pytest.raises(StateLocked, match="another runner"):
        run_job()
    assert run_job().state == "finished"


def test_run_snapshot_is_readable_json(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    summary = run_job()
    recorded = json.loads((tmp_path / ".runner" / "runs" / summary.run / "spec.json").read_text())
    assert recorded["record"]["params"] == SPEC["params"]
    assert [file["path"] for file in recorded["inputs"]] == ["rows.csv"]
