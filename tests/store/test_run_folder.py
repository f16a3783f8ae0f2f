"""TODO The lifecycle against a simulator that misbehaves: real SDK, real socket, every row once, no batch twice."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from runner import Summary
from runner.errors import StateError, StateLocked
from runner.store.store import open_store
from tests.support.projects import SPEC
from tests.support.simulator import accepted


def test_lost_database_is_not_recreated_over_existing_runs(tmp_path: Path, job: Callable[..., Summary]) -> None:
    job(wait=False)
    for path in (tmp_path / ".runner").glob("state.db*"):
        path.unlink()
    with pytest.raises(StateError, match="is missing or empty"):
        job()
    assert accepted(tmp_path / "api") == 3


def test_two_runners_never_share_a_state(tmp_path: Path, job: Callable[..., Summary]) -> None:
    with open_store(tmp_path / ".runner"), pytest.raises(StateLocked, match="another runner"):
        job()
    assert job().state == "finished"


def test_run_snapshot_is_readable_json(tmp_path: Path, job: Callable[..., Summary]) -> None:
    summary = job()
    recorded = json.loads((tmp_path / ".runner" / "runs" / summary.run / "spec.json").read_text())
    assert recorded["record"]["params"] == SPEC["params"]
    assert [file["path"] for file in recorded["inputs"]] == ["rows.csv"]
