"""Settings of a project: where each comes from, and what is said about mistakes."""

import os
from pathlib import Path

import pytest

from runner.errors import UsageError
from runner.store.settings import Setting, give_setting, read_jobs, read_settings
from tests.support.processes import command
from tests.support.projects import write_job
from tests.support.simulator import environ_without_key


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("RUNNER_")]:
        monkeypatch.delenv(name)


def mistake(root: Path, text: str) -> str:
    (root / "runner.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        read_settings(root)
    return str(caught.value).removeprefix(f"{root}/")


@pytest.mark.parametrize(
    "line", ['state = "postgresql://db/ops"', 'files = "s3://b/x"', 'project = "p"', "jobs = 2", '"jobs" = "auto"']
)
def test_setting_below_accounts_is_refused(tmp_path: Path, line: str) -> None:
    name = line.partition(" ")[0].strip('"')
    text = f'[accounts]\nmain = "ANTHROPIC_API_KEY"\n\n{line}\n'
    assert mistake(tmp_path, text) == f"runner.toml:4: {name} stands below [accounts]: move it above"


@pytest.mark.parametrize("words", [["status"], ["run", "job.yaml", "--yes"], ["move"], ["validate", "job.yaml"]])
def test_every_command_refuses_a_setting_below_accounts(tmp_path: Path, words: list[str]) -> None:
    write_job(tmp_path)
    (tmp_path / "runner.toml").write_text('[accounts]\nmain = "MAIN_KEY"\nstate = "postgresql://db/ops"\n')
    ended = command(tmp_path, {**environ_without_key(), "RUNNER_ACCOUNTS": "main=MAIN_KEY"}, *words)
    assert ended.returncode == 2 and "runner.toml:3: state stands below [accounts]" in ended.stderr, ended.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\nstat = 'x'", "runner.toml:2: there is no setting 'stat'; did you mean 'state'?"),
        ("State = 'x'", "runner.toml:1: there is no setting 'State'; did you mean 'state'?"),
        ("file = 'x'", "runner.toml:1: there is no setting 'file'; did you mean 'files'?"),
        ("x = 1", "there is no setting 'x'; expected one of: state, files, project, jobs, accounts"),
        ("[account]\na = 'A'", "runner.toml:1: there is no setting 'account'; did you mean 'accounts'?"),
        ("# state = 1\nstate = 5", "runner.toml:2: state must be text in quotes"),
        ("jobs = true", "runner.toml:1: jobs must be a number from 1 to 999, auto or dask://HOST:PORT"),
        ("jobs = 'many'", "jobs is 'many': it must be a number from 1 to 999, auto or dask://HOST:PORT"),
        ("jobs = 0", "jobs is '0': it must be a number"),
        ("project = 'p'\nstate = x", "runner.toml:2:9: Invalid value"),
        ("[accounts]\na = 5", "runner.toml:2: each account must be the name of a variable in quotes"),
        ("project = ''", "runner.toml:1: project is empty: write a value, or delete the line"),
        ("\n[accounts]", "runner.toml:2: accounts must be a table with a name and"),
        ("accounts = 'a=A'", "runner.toml:1: accounts must be a table with a name and"),
        ("[accounts]\n'my main' = 'A'", "runner.toml:1: accounts: account 1 must be a name of letters"),
        ("[accounts]\na = 'A'\nb = 'A'", "runner.toml:1: accounts: two accounts have the key in A"),
        ("accounts = { jobs = 2 }", "runner.toml:1: jobs stands below [accounts]: move it above"),
    ],
)
def test_mistake_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    assert message in mistake(tmp_path, text)


def test_byte_order_mark_of_an_editor_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "runner.toml").write_bytes('project = "p"\r\n'.encode("utf-8-sig"))
    assert read_settings(tmp_path)["project"].value == "p"


def test_settings_know_where_they_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runner.toml").write_text('jobs = 2\nproject = "p"\n\n[accounts]\nmain = "MAIN_KEY"\n')
    monkeypatch.setenv("RUNNER_PROJECT", "q")
    assert read_settings(tmp_path) == {
        "jobs": Setting("2", f"{tmp_path}/runner.toml:1: jobs"),
        "project": Setting("q", "RUNNER_PROJECT"),
        "accounts": Setting("main=MAIN_KEY", f"{tmp_path}/runner.toml:4: accounts"),
    }
    assert read_jobs(read_settings(tmp_path)["jobs"]) == 2


def test_setting_of_an_option_names_the_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_STATE", "local")
    give_setting("state", "postgresql://db/a")
    assert read_settings(tmp_path)["state"] == Setting("postgresql://db/a", "--state")
    monkeypatch.setenv("RUNNER_STATE", "postgresql://db/b")
    assert read_settings(tmp_path)["state"].origin == "RUNNER_STATE"
