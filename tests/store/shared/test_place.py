"""The place of the state of a project, by `runner.toml` and the environment."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from runner.errors import UsageError
from runner.spec.spec_files import find_project_root
from runner.store.place import StatePlace, find_place

SHARED = 'state = "postgresql://db/ops"\nfiles = "s3://bucket/runner/"\n'


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STATE", "FILES", "PROJECT", "JOBS"):
        monkeypatch.delenv(f"RUNNER_{name}", raising=False)


def test_state_is_in_the_project_folder_by_default(tmp_path: Path) -> None:
    assert find_place(tmp_path) == StatePlace(tmp_path / ".runner")


def test_runner_toml_names_a_shared_state(tmp_path: Path) -> None:
    (tmp_path / "runner.toml").write_text(SHARED)
    place = find_place(tmp_path)
    assert place == StatePlace(tmp_path / ".runner", "postgresql://db/ops", "s3://bucket/runner", tmp_path.name)
    assert place.is_shared


def test_environment_comes_before_runner_toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runner.toml").write_text(SHARED)
    monkeypatch.setenv("RUNNER_STATE", "postgresql://me:secret@other/ops")
    monkeypatch.setenv("RUNNER_PROJECT", "invoices")
    place = find_place(tmp_path)
    assert (place.database, place.project) == ("postgresql://me:secret@other/ops", "invoices")


@pytest.mark.parametrize("project", ["invoices", "team/invoices", "/a b", "50%", "a=2Fb"])
def test_project_has_one_folder_in_a_bucket(tmp_path: Path, project: str) -> None:
    url = StatePlace(tmp_path, "postgresql://db/ops", "s3://bucket/runner", project).project_files
    name = str(url).removeprefix("s3://bucket/runner/")
    assert unquote(name) == name and "/" not in name
    assert unquote(name.replace("=", "%")) == project


@pytest.mark.parametrize("name", ["local", ".runner"])
def test_local_state_comes_before_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / "runner.toml").write_text(SHARED)
    monkeypatch.setenv("RUNNER_STATE", name)
    assert find_place(tmp_path) == StatePlace(tmp_path / ".runner")


def test_mistake_in_a_variable_is_named_without_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNNER_STATE", "mysql://me:secret@db/ops")
    with pytest.raises(UsageError, match=r"^RUNNER_STATE is 'mysql://me@db/ops': it must be local"):
        find_place(Path())


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:SECRET@KEY@db/ops",
        "postgresql://me:SECRET/KEY@db/ops",
        "postgresql://me:SECRET?KEY@db/ops",
        "postgresql://me:123/SECRET@db/ops",
        "postgresql://me:123?SECRET@db/ops",
        "postgresql://me:SECRET#KEY@db/ops",
        "postgresql://me:SECRET%KEY@db/ops",
        "postgresql://me:SECRET%00KEY@db/ops",
    ],
)
def test_no_part_of_an_unquoted_password_is_shown(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("RUNNER_STATE", url)
    monkeypatch.setenv("RUNNER_FILES", "s3://bucket/x")
    with pytest.raises(
        UsageError, match="RUNNER_STATE is 'postgresql://me@db/ops', which is no valid URL"
    ) as raised:
        find_place(Path())
    assert not {"SECRET", "KEY", "123"} & set(re.split(r"\W", str(raised.value)))


@pytest.mark.parametrize("url", ["s3://me:SECRET@bucket/x", "az://box/x?sig=SECRET", "mysql://me:SECRET@box/x"])
def test_no_credentials_are_taken_from_files(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("RUNNER_STATE", "postgresql://db/ops")
    monkeypatch.setenv("RUNNER_FILES", url)
    with pytest.raises(UsageError, match=r"^RUNNER_FILES ") as raised:
        find_place(Path())
    assert "SECRET" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgres://db/ops",
        "postgresql:///ops?host=/run/postgresql&user=me@corp",
        "postgresql://me:se%40cret@db:5432,other:5433/ops?target_session_attrs=read-write",
        "postgresql://me@[::1]:5432/ops",
        "postgresql://db",
    ],
)
def test_url_of_libpq_is_accepted(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("RUNNER_STATE", url)
    monkeypatch.setenv("RUNNER_FILES", "s3://bucket/x")
    assert find_place(Path()).database == url


@pytest.mark.parametrize(
    ("project", "folder"),
    [("shop-2.1", "shop-2.1"), ("/a b~", "=2Fa=20b=7E"), ("..", "=2E=2E"), ("é=", "=C3=A9=3D")],
)
def test_each_project_has_one_folder_of_its_own(project: str, folder: str) -> None:
    assert (
        StatePlace(Path(), "postgresql://db", "s3://bucket/x", project).project_files == f"s3://bucket/x/{folder}"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stat = 'x'", "there is no setting 'stat'; did you mean 'state'"),
        ("state = 5", "state must be text in quotes"),
        ("state = ", "Invalid value"),
        ("state = 'mysql://db/ops'\nfiles = 's3://b/x'", "must be local, or a URL that begins with postgresql://"),
        ("state = 'postgresql://me:secret@db/ops'", "contains a password"),
        ("state = 'postgresql://db/ops'", "needs `files` beside it"),
        ("state = 'postgresql://db/ops?password=secret'", "contains a password"),
        ("state = 'postgresql://db/ops'\nfiles = 'http://b/x'", "toml:2: files is 'http://b/x'"),
        ("state = 'postgresql://db/ops'\nfiles = 'file://store'", "has three slashes: file:///store"),
        ("state = 'postgresql://db/ops'\nfiles = 's3:///x'", "toml:2: files is 's3:///x': s3://bucket/x"),
        ("files = 's3://bucket/x'", "needs a shared `state` beside it"),
    ],
)
def test_mistake_in_runner_toml_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "runner.toml").write_text(text)
    with pytest.raises(UsageError, match=message):
        find_place(tmp_path)


def test_settings_above_a_nearer_project_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "runner.toml").write_text('state = "local"\n')
    (tmp_path / "specs/.runner").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"runner\.toml does not count: the project folder is .*specs, which"):
        find_place(tmp_path / "specs")
    (tmp_path / "specs/runner.toml").write_text('state = "local"\n')
    assert not find_place(tmp_path / "specs").is_shared


def test_settings_of_another_repository_are_not_looked_for(tmp_path: Path) -> None:
    (tmp_path / "runner.toml").write_text('state = "local"\n')
    (tmp_path / "clone/.git").mkdir(parents=True)
    (tmp_path / "clone/specs/.runner").mkdir(parents=True)
    assert not find_place(tmp_path / "clone/specs").is_shared


def test_settings_make_the_project_folder(tmp_path: Path) -> None:
    (tmp_path / "runner.toml").write_text('state = "local"\n')
    (tmp_path / "specs").mkdir()
    assert find_project_root(tmp_path / "specs/job.yaml") == tmp_path
