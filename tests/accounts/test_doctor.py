"""`doctor` finds the accounts with which the next run could not go on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import RUN, command
from tests.support.projects import SPEC, write_job
from tests.support.simulator import MAIN_ONLY, two_accounts


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of a run with batches in processing in both accounts."""
    write_job(tmp_path, batch={**SPEC["batch"], "max_requests": 4})
    with two_accounts(tmp_path, seconds=600) as environ:
        assert command(tmp_path, environ, *RUN, "--no-wait").returncode == 4
        yield environ


@pytest.mark.parametrize("remote", [(), ("--remote",)])
@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (MAIN_ONLY, "was sent with the account 'second', which is not in the settings: add second = "),
        ({"SECOND_API_KEY": ""}, "SECOND_API_KEY is not set, which holds the key of the account 'second'"),
        ({"SECOND_API_KEY": "main"}, "RUNNER_ACCOUNTS: 'main' and 'second' have the same key"),
    ],
)
def test_unusable_settings_are_found(
    tmp_path: Path, environ: dict[str, str], change: dict[str, str], finding: str, remote: tuple[str, ...]
) -> None:
    found = command(tmp_path, {**environ, **change}, "doctor", *remote)
    assert (found.returncode, finding in found.stdout, "1 finding\n" in found.stdout) == (8, True, True), found


def test_swapped_keys_are_found(tmp_path: Path, environ: dict[str, str]) -> None:
    swapped = {"ANTHROPIC_API_KEY": "second", "SECOND_API_KEY": "main"}
    found = command(tmp_path, {**environ, **swapped}, "doctor", "--remote")
    assert (found.returncode, "2 findings" in found.stdout) == (8, True), found
    assert "account second: batch 1" not in found.stdout
    for name in ("main", "second"):
        assert f"is in workspace wrkspc_simulated_{name}, but the key in " in found.stdout


def test_refused_key_is_found_once(tmp_path: Path) -> None:
    write_job(tmp_path, batch={**SPEC["batch"], "max_requests": 4})
    with two_accounts(tmp_path) as environ:
        assert command(tmp_path, environ, *RUN).returncode == 0
    with two_accounts(tmp_path, second=["revoked-key:9999"]) as environ:
        found = command(tmp_path, environ, "doctor", "--remote")
    assert (found.returncode, "1 finding\n" in found.stdout) == (8, True), found
    assert "account second: HTTP 401: " in found.stdout and ": set SECOND_API_KEY to a valid key" in found.stdout
