"""SQL sinks: tables are created once, and rows are replaced by key."""

import datetime
import resource
import sqlite3
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from runner import Summary
from runner.errors import InputError
from runner.sinks.check import check_destination, check_sinks
from runner.sinks.destination import Destination
from runner.sinks.open import open_sink
from runner.tabular.database import Transactions
from tests.support.projects import SPEC, write_job
from tests.support.servers import NewDatabase, postgres, rows_of
from tests.support.simulator import paid
from tests.support.sinks import (
    FAILED_RECORD,
    TYPED_ANSWER,
    TYPED_SINK_COLUMNS,
    outcome_record,
    spec_with,
    sql_sink,
    typed_spec,
    write_sink,
)


def test_table_is_created_once_and_rows_are_replaced_by_key(tmp_path: Path) -> None:
    spec = typed_spec(tmp_path, type="sql", table="t", key="id")
    at = Destination(tmp_path / "out" / "o.db")
    for _ in range(2):
        write_sink(spec, at, outcome_record(output=TYPED_ANSWER), FAILED_RECORD)
    assert len(rows_of(at.database_url)) == 2
    write_sink(spec, at, outcome_record(output={**TYPED_ANSWER, "total": 4}))
    found = rows_of(at.database_url)
    assert [row[:2] for row in found] == [("k1", 4.0), ("k2", None)]
    with pytest.raises(KeyboardInterrupt), open_sink(spec, 0, at, {}) as take:
        take(outcome_record(output={**TYPED_ANSWER, "total": 5}))
        raise KeyboardInterrupt
    assert rows_of(at.database_url) == found


@pytest.mark.server
def test_postgresql_has_typed_columns_and_stable_rewrites(tmp_path: Path, new_database: NewDatabase) -> None:
    spec = typed_spec(tmp_path, type="sql", table="made.t", key="id")
    with new_database("postgres") as url:
        at = Destination(url=url)
        engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.pool.NullPool)
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE SCHEMA made")
        for _ in range(2):
            write_sink(spec, at, outcome_record(output=TYPED_ANSWER), FAILED_RECORD)
        first, second = rows_of(url, "made.t")
        assert first == (
            "k1", 3.0, None, True, datetime.date(2026, 11, 25), "a",
            [{"name": "x", "n": 1}, {"name": "é"}], '{"k":[1]}', Decimal("3.00"), '{"a":1}', None,
        )  # fmt: skip
        assert second == ("k2", *[None] * 8, '{"a":1}', "not JSON")


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("CREATE TABLE t (id TEXT PRIMARY KEY, total REAL)", "the table t has no column count, sure, day"),
        ("CREATE TABLE t (id TEXT, label TEXT)", "the table t has neither a primary key nor a unique index on id"),
    ],
)
def test_unsuitable_table_is_reported_before_sending(tmp_path: Path, statement: str, words: str) -> None:
    at = Destination(tmp_path / "o.db")
    with sa.create_engine(at.database_url).begin() as connection:
        connection.exec_driver_sql(statement)
    columns = {"id": "key", **(TYPED_SINK_COLUMNS if "total" in statement else {"label": "output.label"})}
    spec = typed_spec(tmp_path, type="sql", table="t", key="id", columns=columns, types={"label": "string"})
    problem = check_destination(spec, 0, at)
    assert problem is not None and f"{at.path}: {words}" in problem.message


@pytest.mark.parametrize("is_simulated", [False, True])
def test_remedy_for_a_missing_column_works(tmp_path: Path, *, is_simulated: bool) -> None:
    at = Destination(tmp_path / "simulated/o.db" if is_simulated else tmp_path / "o.db")
    assert at.path is not None
    at.path.parent.mkdir(exist_ok=True)
    columns = {"id": "key", "gross": "output.total", "two words": "outcome"}
    types = {"gross": "decimal(12,2)"}
    spec = spec_with(
        tmp_path, {"type": "sql", "path": "o.db", "table": "t", "key": "id", "columns": columns, "types": types}
    )
    with closing(sqlite3.connect(at.path)) as database:
        database.execute("CREATE TABLE t (id TEXT PRIMARY KEY)")
        problem = check_destination(spec, 0, at)
        assert problem is not None
        if is_simulated:
            assert problem.message.endswith(": delete this file, which only simulated runs have written")
            return
        added = 'ALTER TABLE t ADD COLUMN gross NUMERIC(12, 2); ALTER TABLE t ADD COLUMN "two words" TEXT'
        assert problem.message.endswith(
            f"has no column gross, two words: add it (`{added}`), or name another table"
        )
        database.executescript(added)
    assert check_destination(spec, 0, at) is None


def test_unreachable_database_is_reported_without_its_password(tmp_path: Path) -> None:
    spec = typed_spec(tmp_path, type="sql", table="t", key="id")
    problem = check_destination(spec, 0, Destination(url="postgresql://me:secret@127.0.0.1:9/x"))
    assert problem is not None and problem.message.startswith("cannot write: postgresql://me@127.0.0.1:9/x: ")
    assert "secret" not in problem.message


def test_table_key_must_be_a_column(tmp_path: Path) -> None:
    [problem] = check_sinks(typed_spec(tmp_path, type="sql", table="t"))
    assert problem.message.startswith("there is no column 'key' to identify the rows of the table")


@pytest.mark.server
@pytest.mark.parametrize("name", ["sqlite", "postgres"])
def test_tables_of_one_database_are_written_together(
    tmp_path: Path, run_job: Callable[..., Summary], new_database: NewDatabase, name: str
) -> None:
    with new_database(name) as url:
        at = {"url": url} if name == "postgres" else {"path": "out/o.db"}
        sinks = [sql_sink(**at, table="good", rows="succeeded"), sql_sink(**at, table="bad", rows="failed")]
        write_job(
            tmp_path,
            rows=1_200,
            sinks=sinks,
            batch={**SPEC["batch"], "max_requests": 1_000},
            retry={"attempts": 1},
        )
        assert run_job(mix=lambda one: "errored" if one.endswith("7") else "succeeded").outcomes["errored"] == 120
        assert (len(rows_of(url, "good")), len(rows_of(url, "bad"))) == (1_080, 120)


HELD = {
    "sqlite": ("timeout=0.2", "BEGIN EXCLUSIVE", "PRAGMA busy_timeout", 600_000),
    "postgres": ("options=-clock_timeout%3D200", "LOCK TABLE t", "SHOW lock_timeout", "10min"),
}


@pytest.mark.server
@pytest.mark.parametrize("name", HELD)
def test_locked_table_is_waited_for_only_so_long(
    tmp_path: Path, run_job: Callable[..., Summary], new_database: NewDatabase, name: str
) -> None:
    patience, hold, query, seconds = HELD[name]
    with (
        new_database(name) as url,
        Transactions() as transactions,
        Transactions() as others,
    ):
        write_job(tmp_path, sinks=[sql_sink(url=f"{url}?{patience}", table="t")])
        run_job()
        assert transactions.connection(url).exec_driver_sql(query).scalar() == seconds
        others.connection(url).exec_driver_sql(hold)
        began = len(list((tmp_path / "api").glob("*.json")))
        with pytest.raises(InputError, match=r"lock timeout|is locked"):
            run_job(new=True)
        assert len(list((tmp_path / "api").glob("*.json"))) == began
        with pytest.raises(InputError, match=r"lock timeout.*run again: nothing is lost|is locked"):
            run_job()
        others.connection(url).rollback()
        assert run_job().exit_code == 0
    assert sum(paid(tmp_path / "api").values()) == 20


def test_two_sinks_on_one_table_are_rejected(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    write_job(tmp_path, sinks=[sql_sink(path="o.db", table="t", rows=rows) for rows in ("succeeded", "failed")])
    with pytest.raises(InputError, match=r"would overwrite sinks\.0"):
        run_job()


def test_missing_or_duplicate_table_key_writes_nothing(tmp_path: Path) -> None:
    at = Destination(tmp_path / "o.db")
    for columns, words in (
        ({"id": "outcome"}, "is already used by an earlier row"),
        ({"id": "row.no"}, "id is null"),
    ):
        spec = spec_with(tmp_path, {"type": "sql", "table": "t", "key": "id", "columns": columns})
        with pytest.raises(InputError, match=words):
            write_sink(spec, at, outcome_record(key=1), outcome_record(key=2))
        assert rows_of(at.database_url) == []


UNFIT: dict[str, tuple[str, dict[str, str]]] = {
    "another type": ("CREATE TABLE t (id TEXT PRIMARY KEY, label INT)", {}),
    "a key of another type": ("CREATE TABLE t (id INT PRIMARY KEY, label TEXT)", {}),
    "no such schema": ("SELECT 1", {"table": "absent.t"}),
    "no permission": (
        "CREATE TABLE t (id TEXT PRIMARY KEY, label TEXT); CREATE ROLE reader LOGIN; GRANT SELECT ON t TO reader",
        {"user": "reader"},
    ),
}


@pytest.mark.server
@pytest.mark.parametrize("case", UNFIT)
def test_unsuitable_server_table_is_reported_before_sending(
    tmp_path: Path, run_job: Callable[..., Summary], case: str
) -> None:
    statement, changes = UNFIT[case]
    with postgres() as url:
        engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.pool.NullPool)
        with engine.begin() as connection:
            connection.exec_driver_sql(statement)
        own = url.replace("tester:secret", changes.get("user", "tester"))
        write_job(tmp_path, sinks=[sql_sink(url=own, table=changes.get("table", "t"))])
        with pytest.raises(InputError, match="cannot write: "):
            run_job()
    assert list((tmp_path / "api").glob("*.json*")) == []


def test_full_disk_of_temporary_files_is_an_error_of_the_sink(tmp_path: Path) -> None:
    columns = {"columns": {"id": "key"}, "types": {"id": "string"}}
    spec = spec_with(tmp_path, {"type": "sql", "table": "t", "key": "id", **columns})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with (
        pytest.raises(InputError, match=r"cannot write .*o\.db: a temporary file cannot be written: "),
        open_sink(spec, 0, Destination(tmp_path / "o.db"), {}) as take,
    ):
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            for number in range(999):
                take(outcome_record(key=f"{number} {'k' * 9_000}"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
