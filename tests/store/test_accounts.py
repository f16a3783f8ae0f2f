"""Accounts of a project: names and variables, never keys."""

from pathlib import Path

import pytest

from runner.errors import UsageError
from runner.store.accounts import read_accounts

KEY = "sk-ant-api03-SECRET"
TABLE = '[accounts]\nmain = "ANTHROPIC_API_KEY"\nsecond = "SECOND_API_KEY"\n'


@pytest.fixture(autouse=True)
def _no_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNNER_ACCOUNTS", raising=False)


def test_runner_toml_names_accounts_in_order(tmp_path: Path) -> None:
    assert read_accounts(tmp_path) is None
    (tmp_path / "runner.toml").write_text(TABLE)
    found = read_accounts(tmp_path)
    assert found is not None
    assert list(found.variables.items()) == [("main", "ANTHROPIC_API_KEY"), ("second", "SECOND_API_KEY")]
    assert found.origin == f"{tmp_path}/runner.toml:1: accounts"


def test_variable_comes_before_runner_toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runner.toml").write_text(TABLE)
    monkeypatch.setenv("RUNNER_ACCOUNTS", "b = B_KEY, a=A_KEY")
    found = read_accounts(tmp_path)
    assert found is not None
    assert list(found.variables.items()) == [("b", "B_KEY"), ("a", "A_KEY")]


@pytest.mark.parametrize(
    "text",
    [KEY, f"main={KEY}", f"{KEY}=MAIN_KEY", "main=", "=MAIN_KEY", "main", "main=A_KEY,", "a b=A_KEY", "main=key"],
)
def test_what_is_no_name_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("RUNNER_ACCOUNTS", text)
    with pytest.raises(
        UsageError, match=r"^RUNNER_ACCOUNTS: account (\d|'main') must be .*never the key itself"
    ) as caught:
        read_accounts(tmp_path)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('accounts = "main=A_KEY"', "accounts must be a table"),
        ("[accounts]", "accounts must be a table"),
        ("[accounts]\nmain = 1", "each account must be the name of a variable"),
        (f'[accounts]\nmain = "{KEY}"', "accounts: account 'main' must be"),
        ('[accounts]\na = "A_KEY"\nb = "A_KEY"', "two accounts have the key in A_KEY: they would share one queue"),
    ],
)
def test_mistake_in_runner_toml_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "runner.toml").write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        read_accounts(tmp_path)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("name", ["state", "files", "project", "jobs"])
def test_account_is_not_named_as_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("RUNNER_ACCOUNTS", f"main=A_KEY,{name}=B_KEY")
    with pytest.raises(UsageError, match=rf"^RUNNER_ACCOUNTS: an account cannot be named '{name}'"):
        read_accounts(tmp_path)


@pytest.mark.parametrize(
    ("text", "shown"), [("main=A_KEY,second=b", "account 'second'"), ("main=A_KEY,S3CRET", "account 2")]
)
def test_wrong_account_is_named_unless_it_may_be_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, shown: str
) -> None:
    monkeypatch.setenv("RUNNER_ACCOUNTS", text)
    with pytest.raises(UsageError, match=f"^RUNNER_ACCOUNTS: {shown} must be a name of letters"):
        read_accounts(tmp_path)


def test_account_is_not_named_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_ACCOUNTS", "a=A_KEY,a=B_KEY")
    with pytest.raises(UsageError, match="there are two accounts 'a'"):
        read_accounts(tmp_path)
