"""Runs over two accounts in a state that machines share."""

import json
from pathlib import Path

import pytest

from tests.support.processes import RUN, command
from tests.support.projects import EACH_ONCE, SPEC, write_job
from tests.support.simulator import end_all, paid_by_all, sent_to, two_accounts

pytestmark = [pytest.mark.slow, pytest.mark.server]


def test_accounts_of_batches_move_with_them(tmp_path: Path, postgres_url: str) -> None:
    write_job(tmp_path, batch={**SPEC["batch"], "max_requests": 4})
    shared = {"RUNNER_STATE": postgres_url, "RUNNER_FILES": f"file://{tmp_path}/files"}
    shared["RUNNER_PROJECT"] = str(tmp_path)
    with two_accounts(tmp_path, seconds=600) as environ:
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
        before = json.loads(command(tmp_path, environ, "status", "--json").stdout)
        for settings, words in (({**environ, **shared}, ("move",)), (environ, ("move", "--to", "local"))):
            moved = command(tmp_path, {**environ, **shared}, *words)
            assert moved.returncode == 0, moved.stderr
            after = json.loads(command(tmp_path, settings, "status", "--json").stdout)
            assert (after["batches"], after["accounts"]) == (before["batches"], before["accounts"])
    sent = sent_to(tmp_path)
    end_all(tmp_path)
    with two_accounts(tmp_path) as environ:
        assert command(tmp_path, {**environ, **shared}, "move").returncode == 0
        ended = command(tmp_path, {**environ, **shared}, *RUN)
    assert ended.returncode == 0, ended.stderr
    assert (sent_to(tmp_path), paid_by_all(tmp_path)) == (sent, EACH_ONCE)
