"""Commands that look after runs know in which account a batch is."""

import json
from pathlib import Path

import pytest

from runner.cli.texts.rows import format_row
from tests.support.processes import RUN, command
from tests.support.projects import SPEC, write_job
from tests.support.simulator import MAIN_ONLY, accepted, end_all, two_accounts

BATCH = {**SPEC["batch"], "max_requests": 4}


def test_cancel_reaches_both_accounts(tmp_path: Path) -> None:
    write_job(tmp_path, batch=BATCH)
    with two_accounts(tmp_path, seconds=600) as environ:
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
        left = command(tmp_path, {**environ, **MAIN_ONLY}, "cancel", "job")
        assert left.stderr.count("could not be canceled: batch ") == 3, left.stderr
        canceled = command(tmp_path, environ, "cancel", "job")
    assert "could not be canceled" not in canceled.stderr
    stored = [json.loads(path.read_text()) for path in (tmp_path / "api").glob("*/msgbatch_*.json")]
    assert len(stored) == 6 and all(one["cancel_initiated_at"] for one in stored)


def test_purge_deletes_in_both_accounts(tmp_path: Path) -> None:
    write_job(tmp_path, batch=BATCH)
    with two_accounts(tmp_path) as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
        refused = command(tmp_path, {**environ, **MAIN_ONLY}, "purge", "job", "--yes", "--remote")
        assert (refused.returncode, "with the account 'second'" in refused.stderr) == (7, True)
        ended = command(tmp_path, environ, "purge", "job", "--yes", "--remote")
    assert ended.returncode == 0, ended.stderr
    assert [accepted(tmp_path / "api" / name) for name in ("main", "second")] == [0, 0]


def test_doctor_looks_into_both_accounts(tmp_path: Path) -> None:
    write_job(tmp_path, batch=BATCH)
    with two_accounts(tmp_path) as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
        fine = command(tmp_path, environ, "doctor", "--remote")
        assert fine.returncode == 0, fine.stdout
        (one,) = sorted((tmp_path / "api/second").glob("msgbatch_*.json"))[:1]
        for suffix in (".json", ".jsonl"):
            text = one.with_suffix(suffix).read_text()
            (one.parent / f"msgbatch_copy{suffix}").write_text(text.replace(one.stem, "msgbatch_copy"))
    with two_accounts(tmp_path) as environ:
        found = command(tmp_path, environ, "doctor", "--remote")
    assert (found.returncode, "msgbatch_copy was sent as batch" in found.stdout) == (8, True)


def test_accounts_of_batches_are_shown(tmp_path: Path) -> None:
    write_job(tmp_path, batch=BATCH)
    with two_accounts(tmp_path, seconds=600) as environ:
        assert "accounts  main, second" in command(tmp_path, environ, "plan", "job.yaml").stdout
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
        shown = command(tmp_path, environ, "status").stdout
        summary = json.loads(command(tmp_path, environ, "status", "--json").stdout)
    counts = summary["accounts"]
    assert {name: one["batches"] for name, one in counts.items()} == {"main": 3, "second": 3}
    assert counts["main"]["requests"] + counts["second"]["requests"] == 20
    assert {one["account"] for one in summary["batches"]} == {"main", "second"}
    requests = counts["second"]["requests"]
    assert f"account second: {requests} requests in 3 batches in processing" in shown
    end_all(tmp_path)
    with two_accounts(tmp_path) as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
        shown = command(tmp_path, environ, "show", "job", "--json").stdout
        rows = [json.loads(row) for row in shown.splitlines()]
        assert {row["account"] for row in rows} == {"main", "second"}
        line = f", as {rows[0]['custom_id']}, in account {rows[0]['account']}"
        assert line in format_row({**rows[0], "usage": None})
        origin = "accounts: main (ANTHROPIC_API_KEY), second (SECOND_API_KEY), from RUNNER_ACCOUNTS"
        assert origin in command(tmp_path, environ, "doctor").stdout


def test_full_queues_are_shown_with_their_accounts(tmp_path: Path) -> None:
    write_job(tmp_path, batch={**BATCH, "poll_seconds": 60})
    with two_accounts(tmp_path, ["max-queue:4"], ["max-queue:4"], seconds=600) as environ:
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
        shown = command(tmp_path, environ, "status").stdout
        queues = json.loads(command(tmp_path, environ, "status", "--json").stdout)["queues"]
    assert [queue["accounts"] for queue in queues] == [["main"], ["second"]]
    for name in ("main", "second"):
        assert f"queue of account {name}: full with " in shown


def test_plan_names_the_account_that_alone_can_send(tmp_path: Path) -> None:
    write_job(tmp_path, mode="sync")
    with two_accounts(tmp_path) as environ:
        assert "  accounts  main\n" in command(tmp_path, environ, "plan", "job.yaml").stdout


def test_lost_answer_can_be_adopted_from_its_account(tmp_path: Path) -> None:
    write_job(tmp_path, batch={**BATCH, "max_requests": 20, "grace_seconds": 0, "on_unknown": "stop"})
    # Its batch is listed only later, by which time a person is asked.
    with two_accounts(tmp_path, ["list-lag", "accept-then-drop"], fault_delay=600) as environ:
        assert command(tmp_path, environ, *RUN).returncode == 5
        (batch,) = (tmp_path / "api/main").glob("msgbatch_*.json")
        adopted = command(tmp_path, environ, "reconcile", "job", "--adopt", batch.stem)
        assert adopted.returncode == 0, adopted.stderr
        assert command(tmp_path, environ, *RUN).returncode == 0
    assert accepted(tmp_path / "api/second") == 0


@pytest.mark.parametrize(
    ("before", "later"),
    [
        (MAIN_ONLY, {"RUNNER_ACCOUNTS": "other=OTHER_API_KEY,main=ANTHROPIC_API_KEY", "OTHER_API_KEY": "second"}),
        ({"RUNNER_ACCOUNTS": ""}, {"RUNNER_ACCOUNTS": "other=OTHER_API_KEY", "OTHER_API_KEY": "second"}),
    ],
    ids=["named", "of before"],
)
def test_adoption_asks_only_the_account_in_question(
    tmp_path: Path, before: dict[str, str], later: dict[str, str]
) -> None:
    write_job(tmp_path, batch={**BATCH, "max_requests": 20, "grace_seconds": 0, "on_unknown": "stop"})
    faults = ["list-lag", "accept-then-drop"]
    with two_accounts(tmp_path, faults, ["revoked-key:99"], fault_delay=600) as environ:
        assert command(tmp_path, {**environ, **before}, *RUN).returncode == 5
        (batch,) = (tmp_path / "api/main").glob("msgbatch_*.json")
        adopted = command(tmp_path, {**environ, **later}, "reconcile", "job", "--adopt", batch.stem)
    assert adopted.returncode == 0, adopted.stderr
