"""Queries as sources: types, errors, snapshots, and changed databases."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from runner import Summary, load_spec
from runner.errors import InputError
from runner.sources.input_files import Inputs
from runner.sources.read import read_rows
from runner.spec.record import make_record
from runner.spec.spec import Source
from tests.support.outputs import records
from tests.support.projects import write_job
from tests.support.servers import postgres
from tests.support.simulator import paid


def database(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


TICKETS = (
    "CREATE TABLE ticket (id INTEGER, text TEXT, score REAL, note TEXT, data BLOB)",
    "INSERT INTO ticket VALUES (2, 'two', 0.5, NULL, x'00'), (1, 'one', 1e300, 'é', x'00')",
)


def queried(root: Path, query: str) -> list[Any]:
    source = Source("sql", "id", {"path": "t.db", "query": query})
    return [(row.key, row.line, row.fields) for row in read_rows(source, Inputs(root))]


def test_query_rows_keep_order_and_types(tmp_path: Path) -> None:
    database(tmp_path / "t.db", *TICKETS)
    found = queried(tmp_path, "SELECT id, text, score, note FROM ticket ORDER BY id")
    assert found == [
        (1, 1, {"id": 1, "text": "one", "score": 1e300, "note": "é"}),
        (2, 2, {"id": 2, "text": "two", "score": 0.5, "note": None}),
    ]
    assert queried(tmp_path, "SELECT id, data FROM ticket LIMIT 1") == [(2, 1, {"id": 2, "data": "AA=="})]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT absent FROM ticket", "the query fails: no such column: absent"),
        ("DELETE FROM ticket", "the query fails: attempt to write a readonly database"),
        ("SELECT id, text AS id FROM ticket", "two columns are named 'id' in the result: name it with AS"),
        ("SELECT id, 9e999 AS much FROM ticket", "t.db:1: much is infinite"),
        ("SELECT 1; SELECT 2", "the query fails: You can only execute one statement"),
        ("SELECT id FROM ticket WHERE id > 9", "the source has no rows"),
    ],
)
def test_failing_query_is_an_error_with_its_reason(tmp_path: Path, query: str, message: str) -> None:
    database(tmp_path / "t.db", *TICKETS)
    with pytest.raises(InputError) as caught:
        queried(tmp_path, query)
    assert message in str(caught.value)


@pytest.mark.parametrize("content", [None, b"not a database, but long enough to be looked at"])
def test_file_that_is_not_a_database_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "t.db").write_bytes(content)
    with pytest.raises(InputError, match=r"t\.db"):
        queried(tmp_path, "SELECT id FROM ticket")
    assert (tmp_path / "t.db").exists() == (content is not None)


def test_query_is_snapshotted_for_the_whole_run(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    database(tmp_path / "t.db", *TICKETS)
    source = {"type": "sql", "path": "t.db", "query": "SELECT id, text FROM ticket ORDER BY id", "key": "id"}
    write_job(tmp_path, source=source)
    assert run_job(wait=False).rows == 2
    database(tmp_path / "t.db", "UPDATE ticket SET text = 'other'")
    assert run_job(resume=True).outcomes == {"succeeded": 2}
    assert [one["row"]["text"] for one in records(tmp_path / "out/all.jsonl")] == ["one", "two"]
    # Both say the same now, so that one of them is sent.
    assert (run_job().outcomes, sum(paid(tmp_path / "api").values())) == ({"succeeded": 2}, 3)


def edit(root: Path, *, leave_log: bool = False) -> Any:
    """Change every ticket; in the write-ahead log only, if its connection is to stay open."""
    connection = sqlite3.connect(root / "t.db")
    if leave_log:
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("UPDATE ticket SET text = text || '!'")
    connection.commit()
    if not leave_log:
        connection.close()
    return connection


@pytest.mark.parametrize("choice", [{}, {"limit": 1}])
@pytest.mark.parametrize("leave_log", [False, True])
def test_edited_database_is_a_changed_input(
    tmp_path: Path, run_job: Callable[..., Summary], choice: dict[str, int], leave_log: bool
) -> None:
    database(tmp_path / "t.db", *TICKETS)
    query = "SELECT id, text FROM ticket ORDER BY id"
    write_job(tmp_path, source={"type": "sql", "path": "t.db", "query": query, "key": "id", **choice})
    first = run_job()
    assert run_job().run == first.run
    connection = edit(tmp_path, leave_log=leave_log)
    assert run_job().run != first.run
    assert records(tmp_path / "out/all.jsonl")[0]["row"]["text"] == "one!"
    connection.close()


def test_infinite_number_from_a_query_is_rejected(tmp_path: Path) -> None:
    database(tmp_path / "t.db", "CREATE TABLE t (id INTEGER, x REAL)", "INSERT INTO t VALUES (1, 9e999)")
    with pytest.raises(InputError, match=r"t\.db:1: x is infinite"):
        queried(tmp_path, "SELECT id, x FROM t")


@pytest.mark.server
def test_the_rows_of_a_query_on_postgresql_have_json_values(tmp_path: Path) -> None:
    query = """
        SELECT 1 AS id, 12.30::numeric(8,2) AS total, '2026-11-25'::date AS day, '{"a": [1]}'::jsonb AS data,
            ARRAY[1, NULL] AS list, '\\x0001'::bytea AS scan, NULL AS none, '100% of :x' AS text,
            '2026-11-25 01:02:03+00'::timestamptz AT TIME ZONE 'UTC' AS at
    """
    with postgres() as url:
        source = Source("sql", "id", {"url": url, "query": query})
        [row] = read_rows(source, Inputs(tmp_path))
        assert row.fields == {
            "id": 1, "total": "12.30", "day": "2026-11-25", "data": {"a": [1]}, "list": [1, None], "scan": "AAE=",
            "none": None, "text": "100% of :x", "at": "2026-11-25T01:02:03",
        }  # fmt: skip
        for text, words in (("SELECT x", 'column "x" does not exist'), ("CREATE TABLE t ()", "syntax error")):
            with pytest.raises(InputError, match=words) as caught:
                list(read_rows(Source("sql", None, {"url": url, "query": text}), Inputs(tmp_path)))
            assert "secret" not in str(caught.value)
    with pytest.raises(InputError, match=r"connection failed|refused"):
        list(read_rows(source, Inputs(tmp_path)))


def test_any_sqlalchemy_database_can_be_queried(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/t.db"
    with sa.create_engine(url).begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t AS SELECT 1 AS id, 'a' AS text")
    source = Source("sql", "id", {"url": url, "query": "SELECT * FROM t"})
    assert [(row.key, row.fields) for row in read_rows(source, Inputs(tmp_path))] == [(1, {"id": 1, "text": "a"})]
    with pytest.raises(InputError, match="nosuch"):
        list(read_rows(Source("sql", None, {"url": "nosuch://x", "query": "SELECT 1"}), Inputs(tmp_path)))


def test_finished_query_is_run_again_and_pays_for_new_rows(
    tmp_path: Path, run_job: Callable[..., Summary]
) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/t.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t AS SELECT 1 AS id, 'a' AS text")
    url = f"sqlite:///{tmp_path}/t.db"
    write_job(tmp_path, source={"type": "sql", "url": url, "query": "SELECT * FROM t ORDER BY id", "key": "id"})
    unfinished = run_job(wait=False)
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO t VALUES (2, 'b')")
    assert (unfinished.exit_code, run_job().run, run_job().rows) == (4, unfinished.run, 2)
    assert sorted(paid(tmp_path / "api")) == [("1", 1), ("1", 2)]


def test_database_password_is_not_in_snapshot_or_fingerprint(tmp_path: Path) -> None:
    write_job(
        tmp_path, source={"type": "sql", "url": "postgresql://me:${env:DB_PASSWORD}@db/x", "query": "SELECT 1"}
    )
    with pytest.MonkeyPatch.context() as patch:
        records = []
        for password in ("secret", "rotated"):
            patch.setenv("DB_PASSWORD", password)
            records.append(make_record(load_spec(tmp_path / "job.yaml")))
    assert records[0] == records[1]
    assert records[0]["source"]["options"]["url"] == "postgresql://me@db/x"
