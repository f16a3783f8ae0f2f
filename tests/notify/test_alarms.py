"""Alarms tell of batches that take long, of results that will be deleted, and of the cost."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import RUN, command
from tests.support.projects import write_job
from tests.support.servers import Webhook, webhook
from tests.support.simulator import bill, simulator

DAY = 86_400


def alarms(*events: str, **settings: Any) -> list[dict[str, Any]]:
    return [{"on": list(events), "url": "${env:HOOK}", **settings}]


def make_older(root: Path, seconds: float) -> None:
    """Make the second batch older."""
    with sqlite3.connect(root / ".runner/state.db") as database:
        database.execute("UPDATE batch SET created_at = created_at - ? WHERE batch = 2", (seconds,))
    database.close()


def message(hook: Webhook) -> str:
    return str(json.loads(hook.got[0].body)["data"]["message"])


@pytest.mark.parametrize(("days", "names"), [(0.9, []), (2, ["slow"]), (22, ["slow", "expiring"]), (30, ["slow"])])
def test_old_batch_is_told_of_once(tmp_path: Path, days: float, names: list[str]) -> None:
    write_job(tmp_path, notify=alarms("slow", "expiring"))
    with simulator(tmp_path / "api", seconds=600) as environ, webhook() as hook:
        environ = {**environ, "HOOK": hook.url}
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
        make_older(tmp_path, days * DAY)
        for _ in range(2):
            assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
    assert hook.names() == names
    assert not names or "batch 2 is not answered after" in message(hook)


def test_cost_is_told_of_at_each_share_of_the_cap(tmp_path: Path) -> None:
    notify = [*alarms("spending", at=0.0001), *alarms("spending", at=0.9)]
    write_job(tmp_path, notify=notify, limits={"max_cost": 0.01})
    with simulator(tmp_path / "api") as environ, webhook() as hook:
        assert command(tmp_path, {**environ, "HOOK": hook.url}, *RUN).returncode == 0
    assert hook.names() == ["spending"]
    assert "of limits.max_cost $0.01 are spent" in message(hook)


def test_cost_of_the_pilot_is_part_of_what_is_told(tmp_path: Path) -> None:
    write_job(tmp_path, rows=80)
    with simulator(tmp_path / "api") as environ, webhook() as hook:
        environ = {**environ, "HOOK": hook.url}
        assert command(tmp_path, environ, "pilot", "job.yaml", "40", "--yes").returncode == 0
        share = 1.5 * bill(tmp_path / "api")
        write_job(tmp_path, rows=80, notify=alarms("spending", at=share), limits={"max_cost": 1})
        assert command(tmp_path, environ, *RUN).returncode == 0
        assert bill(tmp_path / "api") > share
    assert hook.names() == ["spending"]


def test_cost_is_told_of_again_for_a_higher_cap(tmp_path: Path) -> None:
    with simulator(tmp_path / "api") as environ, webhook() as hook:
        for cap in (0.00012, 0.00012, 0.00015):
            write_job(tmp_path, notify=alarms("spending", at=0.001), limits={"max_cost": cap})
            assert command(tmp_path, {**environ, "HOOK": hook.url}, *RUN).returncode == 7
    assert hook.names() == ["spending", "spending"]
