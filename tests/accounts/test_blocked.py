"""An account that cannot be used does not stop the others, and no batch leaves its account."""

from pathlib import Path

import pytest

from runner.simulator.faults import Faults
from tests.support.processes import RUN, command
from tests.support.projects import EACH_ONCE, SPEC, write_job
from tests.support.simulator import MAIN_ONLY, end_all, paid_by_all, sent_to, two_accounts

SMALL = {**SPEC["batch"], "max_requests": 4}
REFUSALS = ["revoked-key:9999", "forbidden:9999", "spend-limit:9999", "billing:9999", "on-hold:9999"]


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("refusal", REFUSALS)
def test_other_account_goes_on(tmp_path: Path, refusal: str, which: int) -> None:
    write_job(tmp_path, batch=SMALL)
    faults = [[refusal], []] if which == 0 else [[], [refusal]]
    with two_accounts(tmp_path, *faults) as environ:
        ended = command(tmp_path, environ, *RUN)
    assert ended.returncode == 0, ended.stderr
    assert sent_to(tmp_path)[which] == 0
    assert paid_by_all(tmp_path) == EACH_ONCE
    name, other = ("main", "second") if which == 0 else ("second", "main")
    assert ended.stderr.count(f"warning: account {name}: ") == 1
    assert f"; going on with {other}" in ended.stderr


def test_run_ends_if_all_accounts_are_refused(tmp_path: Path) -> None:
    write_job(tmp_path)
    with two_accounts(tmp_path, ["spend-limit:99"], ["revoked-key:99"]) as environ:
        ended = command(tmp_path, environ, *RUN)
    assert (ended.returncode, sent_to(tmp_path)) == (7, (0, 0)), ended.stderr


def test_batches_of_a_revoked_account_are_waited_for(tmp_path: Path) -> None:
    write_job(tmp_path, batch=SMALL)
    with two_accounts(tmp_path, seconds=600) as environ:
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
    before = sent_to(tmp_path)
    end_all(tmp_path)
    with two_accounts(tmp_path, second=["revoked-key:9999"]) as environ:
        ended = command(tmp_path, environ, *RUN)
        assert (ended.returncode, "account second: " in ended.stderr) == (7, True), ended.stderr
        assert len(list((tmp_path / ".runner").glob("runs/*/results/1-*.jsonl"))) == before[0]
    with two_accounts(tmp_path) as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
    assert (sent_to(tmp_path), paid_by_all(tmp_path)) == (before, EACH_ONCE)


def test_key_revoked_while_a_run_is_followed(tmp_path: Path) -> None:
    write_job(tmp_path, batch=SMALL)
    second = Faults()

    def revoke(moment: str) -> None:
        if moment == "retrieve":
            second.add("revoked-key:9999")

    with two_accounts(tmp_path, second=second, on=revoke) as environ:
        ended = command(tmp_path, environ, *RUN)
        assert ended.returncode == 7, ended.stderr
        second.clear()
        assert ended.stderr.count("warning: account second: ") == 1
    with two_accounts(tmp_path) as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
    assert paid_by_all(tmp_path) == EACH_ONCE


def test_full_queue_of_one_account_does_not_stop_the_other(tmp_path: Path) -> None:
    write_job(tmp_path, batch=SMALL)
    with two_accounts(tmp_path, ["max-queue:4"], seconds=600) as environ:
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
    assert sent_to(tmp_path) == (1, 5)


def test_account_that_was_removed_is_named(tmp_path: Path) -> None:
    write_job(tmp_path, batch=SMALL)
    with two_accounts(tmp_path, seconds=600) as environ:
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
        before = sent_to(tmp_path)
        without = {name: value for name, value in environ.items() if name != "RUNNER_ACCOUNTS"}
        for settings, name in (({**environ, **MAIN_ONLY}, "second"), (without, "main")):
            ended = command(tmp_path, settings, *RUN)
            assert ended.returncode == 7
            assert (
                f"was sent with the account '{name}', which is not in the settings: add {name} = " in ended.stderr
            )
    assert sent_to(tmp_path) == before
    end_all(tmp_path)
    with two_accounts(tmp_path) as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
        # Its batches are all collected, so it is not needed any more.
        assert command(tmp_path, {**environ, **MAIN_ONLY}, *RUN).returncode == 0
    assert (sent_to(tmp_path), paid_by_all(tmp_path)) == (before, EACH_ONCE)


def test_sync_requests_name_the_account_that_is_revoked(tmp_path: Path) -> None:
    write_job(tmp_path, mode="sync", batch=SMALL, sync={"concurrency": 1})
    first = Faults()

    def revoke(moment: str) -> None:
        if moment == "answered":
            first.add("revoked-key:9999")

    with two_accounts(tmp_path, first, on=revoke) as environ:
        # None of them has the key that is used without accounts.
        accounts = {"RUNNER_ACCOUNTS": "first=A_KEY,second=SECOND_API_KEY", "A_KEY": "main"}
        ended = command(tmp_path, {**environ, **accounts}, *RUN)
    assert ended.returncode == 7, ended.stderr
    assert "account first: HTTP 401" in ended.stderr and "account None" not in ended.stderr


def test_account_is_not_missed_once_its_batches_are_collected(tmp_path: Path) -> None:
    write_job(tmp_path, batch=SMALL)
    with two_accounts(tmp_path, ["max-queue:4"], ["max-queue:4"], seconds=600) as environ:
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
    end_all(tmp_path)
    with two_accounts(tmp_path, ["spend-limit:9"], ["spend-limit:9"]) as environ:
        assert command(tmp_path, environ, *RUN).returncode == 7
    with two_accounts(tmp_path) as environ:
        ended = command(tmp_path, {**environ, "RUNNER_ACCOUNTS": ""}, *RUN)
    assert ended.returncode == 0, ended.stderr
    assert (sent_to(tmp_path), paid_by_all(tmp_path)) == ((5, 1), EACH_ONCE)


def test_key_of_before_is_asked_once_for_all_its_batches(tmp_path: Path) -> None:
    write_job(tmp_path, batch=SMALL)
    calls: list[str] = []
    with two_accounts(tmp_path, seconds=600, on=calls.append) as environ:
        assert command(tmp_path, {**environ, "RUNNER_ACCOUNTS": ""}, *RUN, "--no-wait").returncode == 4
        calls.clear()
        accounts = {"RUNNER_ACCOUNTS": "other=OTHER_KEY", "OTHER_KEY": "second"}
        assert command(tmp_path, {**environ, **accounts}, *RUN, "--no-wait").returncode == 4
    assert (calls.count("list"), calls.count("retrieve")) == (2, 6)


@pytest.mark.parametrize(
    ("refusal", "remedy"),
    [
        ("revoked-key:9999", ": set SECOND_API_KEY to a valid key"),
        ("forbidden:9999", " of the key in SECOND_API_KEY in the Console"),
    ],
)
def test_refused_account_is_named_with_its_remedy(tmp_path: Path, refusal: str, remedy: str) -> None:
    write_job(tmp_path, batch=SMALL)
    with two_accounts(tmp_path, seconds=600) as environ:
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
    end_all(tmp_path)
    with two_accounts(tmp_path, second=[refusal]) as environ:
        ended = command(tmp_path, environ, *RUN)
    assert f"{remedy}; going on with main; 3 batches in second will be left" in ended.stderr
    (error,) = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert (error.startswith("error: account second: HTTP 40"), error.endswith(remedy)) == (True, True), error


def test_swapped_keys_are_named(tmp_path: Path) -> None:
    write_job(tmp_path, batch=SMALL)
    with two_accounts(tmp_path, seconds=600) as environ:
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
        swapped = {"ANTHROPIC_API_KEY": "second", "SECOND_API_KEY": "main"}
        ended = command(tmp_path, {**environ, **swapped}, *RUN)
    assert ended.returncode == 7, ended.stderr
    assert (
        "error: account main: batch 1 is in workspace wrkspc_simulated_main, but the key in ANTH" in ended.stderr
    )
    assert "set ANTHROPIC_API_KEY to a key of wrkspc_simulated_main" in ended.stderr
