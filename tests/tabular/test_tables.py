"""Tables of every database: types, keys, unique indexes, and creation."""

import datetime
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa

from runner import Summary
from runner.errors import InputError, UsageError
from tests.support.servers import NewDatabase, database_server, query_server, write_table
from tests.support.simulator import paid

pytestmark = pytest.mark.server

SERVERS = ["sqlite", "mariadb", "postgres"]
TYPES = {
    "at": "timestamp", "day": "date", "small": "decimal(12,2)", "large": "decimal(30,2)", "sure": "boolean",
    "n": "integer", "x": "number", "text": "string",
}  # fmt: skip
AT, LARGE = "2020-01-01T01:02:03.123456+05:00", "1234567890123456789012345678.12"


@pytest.mark.parametrize("name", SERVERS)
def test_every_type_is_stored_without_loss(
    tmp_path: Path, run_job: Callable[..., Summary], name: str, new_database: NewDatabase
) -> None:
    row = {
        "id": "a", "at": AT, "day": "2020-02-03", "small": "12.50", "large": LARGE, "sure": True, "n": 2**62,
        "x": 0.1, "text": "é" * 70_000,
    }  # fmt: skip
    with new_database(name) as url:
        write_table(tmp_path, url, [row, {**row, "id": "b", **dict.fromkeys(TYPES)}], types=TYPES)
        for new in (False, True):
            assert run_job(new=new).exit_code == 0
        zone = "SET TIME ZONE 'UTC'" if name == "postgres" else "SELECT 1"
        (_, *found), (_, *nulls) = query_server(url, zone, "SELECT * FROM t ORDER BY id")
    at, day, small, large, sure, n, x, text = found
    assert datetime.datetime.fromisoformat(str(at)).replace(tzinfo=None) == datetime.datetime(
        2019, 12, 31, 20, 2, 3, 123456
    )
    assert (str(day), float(small), Decimal(large), bool(sure)) == ("2020-02-03", 12.5, Decimal(LARGE), True)
    assert (n, x, text, set(nulls)) == (2**62, 0.1, row["text"], {None})


KEYS = {
    "sqlite": ("id TEXT PRIMARY KEY COLLATE NOCASE", "id INTEGER PRIMARY KEY"),
    "mariadb": ("id VARCHAR(20) PRIMARY KEY", "id INT PRIMARY KEY"),
    "postgres": ("id CHAR(10) PRIMARY KEY",),
}


@pytest.mark.parametrize("name", SERVERS)
def test_keys_equal_in_the_table_lose_no_row_silently(
    tmp_path: Path, run_job: Callable[..., Summary], name: str, new_database: NewDatabase
) -> None:
    with new_database(name) as url:
        for column, keys in zip(KEYS[name], (["a", "A", "a ", "b"], ["1", "01", "2"]), strict=False):
            query_server(url, "DROP TABLE IF EXISTS t", f"CREATE TABLE t ({column}, n INT)")
            write_table(tmp_path, url, [{"id": key, "n": 1} for key in keys], types={"n": "integer"})
            with pytest.raises(InputError, match=r"t stores id '.*' under another row's key"):
                run_job(new=True)
            assert query_server(url, "SELECT count(*) FROM t") == [(0,)]
        query_server(url, "DROP TABLE t")
        write_table(tmp_path, url, [{"id": key, "n": 1} for key in ("a", "A", "b")], types={"n": "integer"})
        assert run_job(new=True).exit_code == 0
        assert sorted(query_server(url, "SELECT id FROM t")) == [("A",), ("a",), ("b",)]
        write_table(tmp_path, url, [{"id": "a", "n": 2}], types={"n": "integer"})
        assert run_job().exit_code == 0
        assert sorted(query_server(url, "SELECT id, n FROM t")) == [("A", 1), ("a", 2), ("b", 1)]


def test_key_may_be_stored_in_another_form(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    with database_server("mariadb", tmp_path) as url:
        for column, keys in (
            ("DATETIME", ["2020-01-01T00:00:00", "2020-01-02T00:00:00"]),
            ("DECIMAL(9,2)", ["1.5", "2"]),
            ("INT", ["01", "2"]),
        ):
            query_server(url, "DROP TABLE IF EXISTS t", f"CREATE TABLE t (id {column} PRIMARY KEY, n INT)")
            write_table(tmp_path, url, [{"id": key, "n": 1} for key in keys], types={"n": "integer"})
            assert run_job(new=True).exit_code == 0
            assert query_server(url, "SELECT count(*) FROM t") == [(2,)]


@pytest.mark.parametrize("name", SERVERS)
def test_declined_run_creates_no_table(
    tmp_path: Path, run_job: Callable[..., Summary], name: str, new_database: NewDatabase
) -> None:
    with new_database(name) as url:
        write_table(tmp_path, url, [{"id": "a", "n": 1}])
        with pytest.raises(UsageError, match="not confirmed"):
            run_job(consent=False)
        engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.pool.NullPool)
        assert sa.inspect(engine).get_table_names() == []
        engine.dispose()


def test_distant_duplicate_keys_are_detected(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    start = datetime.datetime(2020, 1, 1)
    keys = [(start + datetime.timedelta(minutes=n)).isoformat() for n in range(1_200)]
    with database_server("mariadb", tmp_path) as url:
        query_server(url, "CREATE TABLE t (id DATETIME PRIMARY KEY, n INT)")
        write_table(
            tmp_path, url, [{"id": key, "n": 1} for key in (*keys, "20200101000000")], types={"n": "integer"}
        )
        with pytest.raises(InputError, match="under another row's key"):
            run_job()
        assert query_server(url, "SELECT count(*) FROM t") == [(0,)]


def test_unique_index_with_the_key_replaces_no_other_row(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    with database_server("mariadb", tmp_path) as url:
        query_server(url, "CREATE TABLE t (id VARCHAR(9) PRIMARY KEY, n INT, UNIQUE (id, n))")
        write_table(tmp_path, url, [{"id": "a", "n": 1}], types={"n": "integer"})
        assert run_job().exit_code == 0


def test_row_never_replaces_one_with_another_key(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    with database_server("mariadb", tmp_path) as url:
        query_server(url, "CREATE TABLE t (id VARCHAR(9) PRIMARY KEY, n INT UNIQUE)")
        write_table(tmp_path, url, [{"id": "a", "n": 1}], types={"n": "integer"})
        with pytest.raises(InputError, match="a unique index on n, by which mysql would also replace other rows"):
            run_job()
    assert paid(tmp_path / "api") == {}


def test_value_too_long_for_a_column_is_not_truncated(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    with database_server("mariadb", tmp_path) as url:
        query_server(
            url, "SET GLOBAL sql_mode = ''", "CREATE TABLE t (id VARCHAR(9) PRIMARY KEY, text VARCHAR(5))"
        )
        write_table(tmp_path, url, [{"id": "a", "text": "x" * 30}])
        with pytest.raises(InputError, match=r"column 'text': .* at most 5 characters"):
            run_job()
        query_server(url, "ALTER TABLE t MODIFY TEXT VARCHAR(50)")
        assert run_job().exit_code == 0
        assert query_server(url, "SELECT text FROM t") == [("x" * 30,)]


def test_column_names_match_in_the_case_of_the_database(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    with database_server("sqlite", tmp_path) as url:
        query_server(url, "CREATE TABLE t (ID TEXT PRIMARY KEY, N TEXT)")
        write_table(tmp_path, url, [{"id": "a", "n": "x"}])
        assert run_job().exit_code == 0
        assert query_server(url, "SELECT * FROM t") == [("a", "x")]
