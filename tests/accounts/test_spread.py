"""The batches of a run are spread over accounts, and what needs one account stays with the first."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.outputs import outputs
from tests.support.processes import RUN, command
from tests.support.projects import EACH_ONCE, SPEC, write_job
from tests.support.simulator import MAIN_ONLY, accepted, end_all, paid_by_all, sent_to, simulator, two_accounts

SMALL = {**SPEC["batch"], "max_requests": 4}


def test_two_queues_take_twice_as_many_requests(tmp_path: Path) -> None:
    write_job(tmp_path, batch=SMALL)
    full = ["max-queue:8"]
    with two_accounts(tmp_path, full, full, seconds=600) as environ:
        ended = command(tmp_path, {**environ, **MAIN_ONLY}, *RUN, "--no-wait")
        assert (ended.returncode, sent_to(tmp_path)) == (4, (2, 0)), ended.stderr
        ended = command(tmp_path, environ, *RUN, "--no-wait")
        assert (ended.returncode, sent_to(tmp_path)) == (4, (2, 2)), ended.stderr


def test_outputs_are_those_of_one_account(tmp_path: Path) -> None:
    root, alone = tmp_path / "several", tmp_path / "alone"
    for folder in (root, alone):
        write_job(folder, batch=SMALL)
    with simulator(alone / "api") as environ:
        assert command(alone, environ, *RUN).returncode == 0
    with two_accounts(root) as environ:
        ended = command(root, environ, *RUN)
    assert ended.returncode == 0, ended.stderr
    assert outputs(root) == outputs(alone)
    assert paid_by_all(root) == EACH_ONCE
    assert min(sent_to(root)) >= 2
    assert "submitted as msgbatch_" in ended.stderr and " in account second" in ended.stderr


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "sync"},
        {"canary": 3},
        {"pilot": {"rows": 12}, "batch": SMALL},
        {"prompt": {"system": "Label the text. " * 3000, "user": "{{ text }}"}, "rows": 200},
    ],
    ids=["sync", "canary", "pilot", "cache"],
)
def test_what_needs_one_account_uses_the_first(tmp_path: Path, changes: dict[str, Any]) -> None:
    write_job(tmp_path, **changes)
    with two_accounts(tmp_path) as environ:
        ended = command(tmp_path, environ, *RUN)
    assert ended.returncode == 0, ended.stderr
    messages = [(tmp_path / "api" / name / "messages.jsonl").exists() for name in ("main", "second")]
    assert messages == ["mode" in changes or "canary" in changes, False]
    if "prompt" in changes or "mode" in changes:
        assert accepted(tmp_path / "api/second") == 0


def test_run_of_before_goes_on_with_accounts(tmp_path: Path) -> None:
    write_job(tmp_path, batch=SMALL)
    with two_accounts(tmp_path, ["max-queue:8"], seconds=600) as environ:
        without = {name: value for name, value in environ.items() if name != "RUNNER_ACCOUNTS"}
        assert command(tmp_path, without, *RUN, "--no-wait").returncode == 4
        assert sent_to(tmp_path) == (2, 0)
        command(tmp_path, environ, *RUN, "--no-wait")
        assert sent_to(tmp_path) == (2, 4)


def test_key_of_before_that_is_no_account_follows_its_batches(tmp_path: Path) -> None:
    write_job(tmp_path, batch=SMALL)
    with two_accounts(tmp_path, ["max-queue:8"], seconds=600) as environ:
        without = {name: value for name, value in environ.items() if name != "RUNNER_ACCOUNTS"}
        assert command(tmp_path, without, *RUN, "--no-wait").returncode == 4
    end_all(tmp_path)
    with two_accounts(tmp_path) as environ:
        second = {**environ, "RUNNER_ACCOUNTS": "second=SECOND_API_KEY"}
        unset = {name: value for name, value in second.items() if name != "ANTHROPIC_API_KEY"}
        refused = command(tmp_path, unset, *RUN)
        assert refused.returncode == 7
        assert "was sent before there were accounts, with another key: no credentials" in refused.stderr
        ended = command(tmp_path, second, *RUN)
    assert ended.returncode == 0, ended.stderr
    assert (sent_to(tmp_path), paid_by_all(tmp_path)) == ((2, 4), EACH_ONCE)


def test_other_platforms_have_no_accounts(tmp_path: Path) -> None:
    write_job(tmp_path, api={"platform": "aws", "region": "us-east-1", "workspace_id": "wrkspc_1"})
    ended = command(tmp_path, {"PATH": "", "RUNNER_ACCOUNTS": "main=NOT_SET"}, "validate", "job.yaml")
    assert ended.returncode == 0, ended.stderr


def test_key_that_is_not_set_stops_a_run_first(tmp_path: Path) -> None:
    write_job(tmp_path)
    (tmp_path / "runner.toml").write_text('[accounts]\nmain = "ANTHROPIC_API_KEY"\nother = "OTHER_KEY"\n')
    with two_accounts(tmp_path) as environ:
        del environ["RUNNER_ACCOUNTS"]
        ended = command(tmp_path, environ, *RUN)
        assert ended.returncode == 7
        assert "OTHER_KEY is not set, which holds the key of the account 'other' (" in ended.stderr
        assert "runner.toml:1: accounts)" in ended.stderr
        ended = command(tmp_path, {**environ, "OTHER_KEY": "main"}, *RUN)
        assert (ended.returncode, "'main' and 'other' have the same key" in ended.stderr) == (2, True)
        ended = command(tmp_path, {**environ, "OTHER_KEY": "unknown"}, *RUN)
        assert ended.returncode == 0, ended.stderr
    assert sent_to(tmp_path)[1] == 0


def test_accounts_of_one_organization_are_named(tmp_path: Path) -> None:
    write_job(tmp_path)
    with simulator(tmp_path / "api") as environ:
        accounts = {"RUNNER_ACCOUNTS": "main=A_KEY,second=B_KEY", "A_KEY": "a", "B_KEY": "b"}
        ended = command(tmp_path, {**environ, **accounts}, *RUN)
    assert ended.returncode == 0, ended.stderr
    assert "accounts main and second are of the same workspace: they share one queue" in ended.stderr


def test_uploaded_files_are_used_where_they_are(tmp_path: Path) -> None:
    file = {"type": "document", "path": "{{ text }}.txt", "upload": True}
    write_job(tmp_path, batch=SMALL, prompt={"user": [file, {"type": "text", "text": "{{ text }}"}]})
    for number in range(1, 21):
        (tmp_path / f"text number {number}.txt").write_text(f"file {number}")
    with two_accounts(tmp_path) as environ:
        ended = command(tmp_path, environ, *RUN)
    assert ended.returncode == 0, ended.stderr
    assert sent_to(tmp_path)[1] == 0
