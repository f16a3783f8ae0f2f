"""Places of outputs are proved writable before anything is paid, and nothing of the proof stays."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from runner import Summary, load_spec
from runner.errors import InputError, UsageError
from runner.lifecycle.plan.preview import plan
from runner.lifecycle.validate.checks import validate_file
from tests.support.projects import write_job
from tests.support.servers import database_server, query_server
from tests.support.simulator import accepted
from tests.support.sinks import sql_sink

RunJob = Callable[..., Summary]


def _refuse(_: Any, path: str, *__: Any) -> None:
    raise PermissionError(13, "Access Denied", path)


@pytest.fixture(autouse=True)
def bucket() -> Iterator[Any]:
    """The objects of buckets in memory, of which some refuse a call."""
    for name, call in (("noput", "pipe_file"), ("nodelete", "rm_file")):
        kind = type(name, (MemoryFileSystem,), {call: _refuse})
        fsspec.register_implementation(name, kind, clobber=True)
    found = fsspec.filesystem("memory")
    yield found
    found.store.clear()


def found_online(root: Path) -> list[str]:
    return [one.message for one in validate_file(root / "job.yaml", is_online=True).findings if one.rule == "sink"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("noput://out/o.jsonl", "cannot write noput://out/o.jsonl: Access Denied; with `check: false`"),
        (
            "nodelete://out/o.jsonl",
            "cannot be deleted (Access Denied): delete nodelete://out/.o.jsonl.runner-check",
        ),
        ("/proc/o.jsonl", "/proc"),
    ],
)
def test_unwritable_place_is_found_before_anything_is_sent(
    tmp_path: Path, run_job: RunJob, path: str, words: str
) -> None:
    write_job(tmp_path, sinks=[{"type": "jsonl", "path": path}])
    with pytest.raises(InputError) as caught:
        run_job()
    assert words in str(caught.value)
    assert accepted(tmp_path / "api") == 0
    [message] = found_online(tmp_path)
    assert words in message
    assert validate_file(tmp_path / "job.yaml").errors == [] or path.startswith("/proc")


def test_proof_at_a_url_leaves_nothing(tmp_path: Path, run_job: RunJob, bucket: Any) -> None:
    write_job(tmp_path, sinks=[{"type": "jsonl", "path": "memory://out/o.jsonl"}])
    bucket.pipe("/out/.o.jsonl.runner-check", b"")
    assert found_online(tmp_path) == []
    assert list(bucket.store) == []
    with pytest.raises(UsageError):
        run_job(consent=False)
    assert list(bucket.store) == []


def test_proof_in_a_folder_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write_job(
        tmp_path,
        sinks=[{"type": "jsonl", "path": "out/o.jsonl"}, {"type": "files", "path": "new/f", "name": "key"}],
    )
    before = sorted(tmp_path.rglob("*"))
    assert found_online(tmp_path) == []
    assert sorted(tmp_path.rglob("*")) == before


def test_nothing_is_written_by_validate_and_plan(tmp_path: Path) -> None:
    write_job(tmp_path, sinks=[{"type": "jsonl", "path": "noput://out/o.jsonl"}])
    assert validate_file(tmp_path / "job.yaml").errors == []
    assert plan(load_spec(tmp_path / "job.yaml"), offline=True).rows == 20


def test_unchecked_sink_is_not_proved(tmp_path: Path, run_job: RunJob, bucket: Any) -> None:
    write_job(tmp_path, sinks=[{"type": "jsonl", "path": "nodelete://out/o.jsonl", "check": False}])
    assert found_online(tmp_path) == []
    assert run_job().exit_code == 0
    assert list(bucket.store) == ["nodelete://out/o.jsonl"]


TABLE = "CREATE TABLE t (id TEXT PRIMARY KEY, label TEXT)"
WRITER = "CREATE ROLE writer LOGIN"


@pytest.mark.server
@pytest.mark.parametrize(
    ("statements", "words"),
    [
        ([TABLE, "GRANT SELECT, UPDATE ON t TO writer"], "permission denied for table t"),
        ([TABLE, "GRANT SELECT, INSERT ON t TO writer"], "permission denied for table t"),
        (["REVOKE CREATE ON SCHEMA public FROM PUBLIC"], "permission denied for schema public"),
        (
            ["CREATE TABLE t (id TEXT PRIMARY KEY, name TEXT)", "GRANT ALL ON t TO writer"],
            "the table t has no column label",
        ),
    ],
)
def test_missing_right_or_column_of_a_table_is_found(
    tmp_path: Path, run_job: RunJob, statements: list[str], words: str
) -> None:
    with database_server("postgres", tmp_path) as url:
        query_server(url, WRITER, *statements)
        write_job(tmp_path, sinks=[sql_sink(url=url.replace("tester:secret", "writer"), table="t")])
        with pytest.raises(InputError, match=words):
            run_job()
        assert accepted(tmp_path / "api") == 0
        [message] = found_online(tmp_path)
        assert words in message


@pytest.mark.server
@pytest.mark.parametrize(
    ("table", "rights", "words"),
    [
        ("id VARCHAR(9) PRIMARY KEY, label TEXT", "SELECT, INSERT", "UPDATE command denied"),
        ("id VARCHAR(9) PRIMARY KEY, label TEXT", "SELECT, UPDATE", "INSERT command denied"),
        ("id VARCHAR(9) PRIMARY KEY, name TEXT", "ALL", "the table t has no column label"),
        ("", "SELECT, INSERT, UPDATE", "CREATE command denied"),
        ("", "ALL", ""),
    ],
)
def test_missing_right_of_mariadb_is_found(tmp_path: Path, table: str, rights: str, words: str) -> None:
    with database_server("mariadb", tmp_path) as url:
        made = [f"CREATE TABLE own.t ({table})"] if table else []
        grants = [f"GRANT {rights} ON own.* TO writer@{host}" for host in ("'127.0.0.1'", "localhost")]
        users = ["CREATE USER writer@'127.0.0.1'", "CREATE USER writer@localhost"]
        query_server(url, "CREATE DATABASE own", *made, *users, *grants)
        own = url.replace("root@", "writer@").replace("/test", "/own")
        write_job(tmp_path, sinks=[sql_sink(url=own, table="t")])
        assert [words in message for message in found_online(tmp_path)] == [True] * bool(words)
        assert query_server(url, "SHOW TABLES FROM own") == ([("t",)] if table else [])


def test_read_only_database_is_found(tmp_path: Path, run_job: RunJob) -> None:
    with database_server("sqlite", tmp_path) as url:
        query_server(url, "CREATE TABLE other (id TEXT)")
        read_only = f"{url.replace('sqlite:///', 'sqlite:///file:')}?mode=ro&uri=true"
        write_job(tmp_path, sinks=[sql_sink(url=read_only, table="t")])
        with pytest.raises(InputError, match="readonly database"):
            run_job()
        assert accepted(tmp_path / "api") == 0
