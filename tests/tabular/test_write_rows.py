"""Values that a table cannot hold: the row and the column are named, and text is cut if the spec says so."""

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import Summary
from runner.errors import InputError
from tests.support.outputs import records
from tests.support.projects import write_job
from tests.support.servers import NewDatabase, query_server, rows_of, write_table

pytestmark = pytest.mark.server

RunJob = Callable[..., Summary]


def write_rows(root: Path, url: str, values: list[Any], **sink: Any) -> None:
    """A job that writes these values to the column `v` of the table `t`."""
    write_table(root, url, [{"id": f"k{number}", "v": value} for number, value in enumerate(values)], **sink)


CUTS = {
    "postgres": [
        ("TEXT", "a\0b", r"cannot hold NUL characters \(U\+0000\): 'a\\x00b'", "ab"),
        ("VARCHAR(3)", "abcd", r"the type character varying\(3\) can hold at most 3 characters, .* has 4", "abc"),
        ("CHAR(3)", "é\0éé", "NUL", "ééé"),
    ],
    "mariadb": [
        ("VARCHAR(3)", "éééé", r"the type varchar\(3\) can hold at most 3 characters, .* has 4", "ééé"),
        (
            "TINYTEXT CHARSET utf8mb4",
            "é" * 200,
            "the type tinytext can hold at most 255 bytes, .* has 400",
            "é" * 127,
        ),
        ("VARCHAR(9) CHARSET utf8mb3", "a😀b", "cannot hold some characters, in utf8mb3: 'a😀b'", "ab"),
        ("VARCHAR(9) CHARSET latin1", "a→ü", "cannot hold some characters, in latin1", "aü"),
    ],
}


@pytest.mark.parametrize("name", CUTS)
def test_text_that_a_column_cannot_hold_is_cut(
    tmp_path: Path, run_job: RunJob, name: str, new_database: NewDatabase
) -> None:
    with new_database(name) as url:
        for kind, text, words, cut in CUTS[name]:
            query_server(url, "DROP TABLE IF EXISTS t", f"CREATE TABLE t (id VARCHAR(9) PRIMARY KEY, v {kind})")
            write_rows(tmp_path, url, ["a", text, "a"])
            with pytest.raises(InputError, match=rf"row 'k1': column 'v': .*{words}.*; set `overflow: cut`"):
                run_job(new=True)
            write_rows(tmp_path, url, ["a", text, "a"], overflow="cut")
            assert run_job().sinks[0]["cut"] == {"v": 1}
            assert query_server(url, "SELECT v FROM t WHERE id = 'k1'") == [(cut,)]


def test_new_table_of_postgresql_takes_no_nul(tmp_path: Path, run_job: RunJob, new_database: NewDatabase) -> None:
    with new_database("postgres") as url:
        write_rows(tmp_path, url, ["a", "x\0y"])
        spec = json.loads((tmp_path / "job.yaml").read_text())
        spec["sinks"].append({"type": "jsonl", "path": "out/all.jsonl"})
        (tmp_path / "job.yaml").write_text(json.dumps(spec))
        with pytest.raises(InputError, match=r"row 'k1': column 'v': .*NUL characters"):
            run_job()
        assert len(records(tmp_path / "out" / "all.jsonl")) == 2
        spec["sinks"][0]["overflow"] = "cut"
        (tmp_path / "job.yaml").write_text(json.dumps(spec))
        assert run_job().sinks[0]["cut"] == {"v": 1}
        assert rows_of(url) == [("k0", "a"), ("k1", "xy")]


def test_nul_in_jsonb_is_removed(tmp_path: Path, run_job: RunJob, new_database: NewDatabase) -> None:
    schema = {
        "type": "object",
        "properties": {"note": {"type": "string", "const": "x\0y"}},
        "required": ["note"],
        "additionalProperties": False,
    }
    with new_database("postgres") as url:
        query_server(url, "CREATE TABLE t (id TEXT PRIMARY KEY, v JSONB)")
        sink = {"type": "sql", "url": url, "table": "t", "key": "id", "columns": {"id": "key", "v": "output"}}
        write_job(tmp_path, rows=2, output={"schema": schema}, sinks=[sink])
        with pytest.raises(InputError, match=r"row 'r1': column 'v': a jsonb column cannot hold NUL"):
            run_job()
        write_job(tmp_path, rows=2, output={"schema": schema}, sinks=[{**sink, "overflow": "cut"}])
        assert run_job().sinks[0]["cut"] == {"v": 2}
        assert rows_of(url)[0][1] == {"note": "xy"}


def test_key_is_never_cut(tmp_path: Path, run_job: RunJob, new_database: NewDatabase) -> None:
    with new_database("postgres") as url:
        query_server(url, "CREATE TABLE t (id VARCHAR(1) PRIMARY KEY, v TEXT)")
        write_rows(tmp_path, url, ["a"], overflow="cut")
        with pytest.raises(InputError, match=r"row 'k0': column 'id': .*it identifies the row, and is never cut"):
            run_job()


REFUSED: dict[str, list[tuple[str, str, Any, str]]] = {
    "sqlite": [("INTEGER", "integer", 2**63, "the number has more than 64 bits: 9223372036854775808")],
    "postgres": [
        ("SMALLINT", "integer", 40_000, "smallint out of range: 40000"),
        ("BIGINT", "integer", 2**63, "bigint out of range: 9223372036854775808"),
        ("NUMERIC(4,2)", "decimal(12,2)", "12345.12", "numeric field overflow: 12345.12"),
        ("REAL", "number", 1e300, "out of range: overflow: 1e[+]300"),
        ("TEXT CHECK (length(v) < 3)", "string", "abc", "violates check constraint"),
    ],
    "mariadb": [
        ("INT UNSIGNED", "integer", -1, "Out of range value .*: -1"),
        ("TIMESTAMP NULL", "timestamp", "1800-01-01T00:00:00Z", "Incorrect datetime value: '1800-01-01"),
        ("VARCHAR(9) CHECK (length(v) < 3)", "string", "abc", "CONSTRAINT .* failed"),
    ],
}


@pytest.mark.parametrize("name", REFUSED)
def test_value_that_a_table_refuses_is_named(
    tmp_path: Path, run_job: RunJob, name: str, new_database: NewDatabase
) -> None:
    with new_database(name) as url:
        for kind, typed, value, words in REFUSED[name]:
            query_server(url, "DROP TABLE IF EXISTS t", f"CREATE TABLE t (id VARCHAR(9) PRIMARY KEY, v {kind})")
            values = [None] * 1_200
            write_rows(tmp_path, url, [*values, value, *values[:100]], types={"v": typed}, overflow="cut")
            with pytest.raises(InputError, match=rf"row 'k1200': column 'v': .*{words}.*; change the type of the"):
                run_job(new=True)
            assert query_server(url, "SELECT count(*) FROM t") == [(0,)]


@pytest.mark.parametrize("name", ["postgres", "mariadb"])
def test_value_that_a_column_would_round_is_an_error(
    tmp_path: Path, run_job: RunJob, name: str, new_database: NewDatabase
) -> None:
    with new_database(name) as url:
        for kind, typed, fits, value in (
            ("INTEGER", "number", 4.0, 3.7),
            ("BIGINT", "decimal(12,2)", "4.00", "3.70"),
            ("DATE", "timestamp", "2026-01-31T00:00:00Z", "2026-01-31T08:00:00Z"),
        ):
            query_server(url, "DROP TABLE IF EXISTS t", f"CREATE TABLE t (id VARCHAR(9) PRIMARY KEY, v {kind})")
            write_rows(tmp_path, url, [fits], types={"v": typed})
            assert run_job(new=True).exit_code == 0
            write_rows(tmp_path, url, [fits, value], types={"v": typed}, overflow="cut")
            with pytest.raises(InputError, match=r"row 'k1': column 'v': a column of the type .* would round "):
                run_job(new=True)


def test_dates_of_all_years_are_stored(tmp_path: Path, run_job: RunJob, new_database: NewDatabase) -> None:
    with new_database("postgres") as url:
        write_rows(tmp_path, url, ["0001-01-01", "9999-12-31"], types={"v": "date"})
        assert run_job().exit_code == 0
        assert [row[1] for row in rows_of(url)] == [datetime.date.min, datetime.date.max]
