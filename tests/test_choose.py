"""Rows chosen by an expression, a sample or a limit; and rows of a query."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from runner import Summary
from runner.errors import InputError
from runner.sources.input_files import Inputs
from runner.sources.read import read_rows
from runner.spec.spec import Source
from tests.jobs import SPEC, accepted, paid, records, write_job


def keys(root: Path, **choice: Any) -> list[str]:
    source = Source("csv", "id", {"path": "rows.csv"}, **choice)
    return [str(row.key) for row in read_rows(source, Inputs(root))]


def test_columns_are_selected_and_converted_to_their_types(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(
        'id,n,x,ok,day,sum,tags,note\n1, 7 ,1e3,yes,2026-11-25,12.30,"[1, {""a"": null}]",a\n2,,,,,,,\n'
    )
    types = {
        "n": "integer", "x": "number", "ok": "boolean", "day": "date", "sum": "decimal(8,2)", "tags": "json"
    }  # fmt: skip
    source = Source("csv", "id", {"path": "rows.csv"}, columns=("id", *types), types=types)
    first, second = (row.fields for row in read_rows(source, Inputs(tmp_path)))
    assert first == {
        "id": "1", "n": 7, "x": 1000.0, "ok": True, "day": "2026-11-25", "sum": "12.30", "tags": [1, {"a": None}]
    }  # fmt: skip
    assert second == {"id": "2", **dict.fromkeys(types)}


@pytest.mark.parametrize(
    ("type", "cell", "message"),
    [
        ("integer", "7.5", "cannot read id as integer: '7.5' is not a whole number"),
        ("number", "much", "cannot read id as number: 'much' is not a number"),
        ("boolean", "maybe", "cannot read id as boolean: 'maybe' is neither true nor false"),
        ("date", "25.11.2026", "cannot read id as date: Invalid isoformat string"),
        ("decimal(4,1)", "1.25", "cannot read id as decimal(4,1): '1.25' has more than 1 decimal places"),
        ("decimal(4,1)", "x", "cannot read id as decimal(4,1): 'x' is not a decimal number"),
        ("integer", "1_000", "cannot read id as integer: '1_000' is not a whole number"),
        ("integer", "\u0663", "cannot read id as integer: '\u0663' is not a whole number"),
        ("integer", str(2**64), "cannot read id as integer: 18446744073709551616 has more than 64 bits"),
        ("number", "nan", "cannot read id as number: 'nan' is not a number"),
        ("number", "1e999", "cannot read id as number: '1e999' is too large, or not a number"),
        (
            "decimal(5,2)",
            "123456789.25",
            "cannot read id as decimal(5,2): '123456789.25' has more than 5 digits",
        ),
        ("json", "[" * 5000, "cannot read id as json: "),
        ("json", "{", "cannot read id as json: Input data was truncated"),
    ],
)
def test_invalid_typed_text_is_reported_with_its_line(tmp_path: Path, type: str, cell: str, message: str) -> None:
    (tmp_path / "rows.csv").write_text(f"id\n{cell}\n")
    with pytest.raises(InputError) as caught:
        list(read_rows(Source("csv", None, {"path": "rows.csv"}, types={"id": type}), Inputs(tmp_path)))
    [problem] = caught.value.problems
    assert (problem.path, problem.line) == ("rows.csv", 2)
    assert problem.message.startswith(message)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"columns": ("idd",)}, "rows.csv:2: no column 'idd': did you mean 'id'?"),
        (
            {"types": {"txt": "integer"}},
            "rows.csv:2: cannot read txt as integer: there is no such column: did",
        ),
    ],
)
def test_unknown_column_is_reported(project: Path, choice: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        keys(project, **choice)
    assert message in str(caught.value)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write_job(tmp_path, rows=50)
    return tmp_path


def test_where_selects_matching_rows(project: Path) -> None:
    assert keys(project, where="id[1:] | int > 47") == ["r48", "r49", "r50"]
    assert keys(project, where="row.text.endswith(' 7') or id == 'r9'") == ["r7", "r9"]


def test_sample_is_repeatable_and_in_source_order(project: Path) -> None:
    drawn = keys(project, sample=10)
    assert drawn == keys(project, sample=10)
    assert (len(drawn), drawn) == (10, sorted(drawn, key=lambda key: int(key[1:])))
    assert keys(project, sample=10, seed=1) != drawn
    assert keys(project, sample=99) == keys(project)


def test_sample_is_uniform(project: Path) -> None:
    counts = dict.fromkeys(keys(project), 0)
    for seed in range(400):
        for key in keys(project, sample=10, seed=seed):
            counts[key] += 1
    assert all(40 < count < 130 for count in counts.values()), counts


def test_smaller_limit_of_spec_and_command_applies(project: Path) -> None:
    source = Source("csv", "id", {"path": "rows.csv"}, where="id[1:] | int > 10", sample=30, limit=5)
    assert [len(list(read_rows(source, Inputs(project), limit=limit))) for limit in (None, 3, 9)] == [5, 3, 5]
    assert keys(project, where="id[1:] | int > 10", limit=2) == ["r11", "r12"]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("idd == 'r1'", r"source\.where: 'idd' is undefined: did you mean 'id'"),
        ("id ==", r"source\.where: not an expression"),
        ("1 / (id[1:] | int - 3) > 0", r"rows\.csv:4: cannot evaluate source\.where: division by zero"),
        ("false", "no row of the source matches `where`"),
    ],
)
def test_invalid_where_expression_is_an_error(
    tmp_path: Path, job: Callable[..., Summary], where: str, message: str
) -> None:
    write_job(tmp_path, source={**SPEC["source"], "where": where})
    with pytest.raises(InputError, match=message):
        job()
    assert accepted(tmp_path / "api") == 0


def test_an_absent_field_of_a_json_object_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"a": 2, "b": 5}\n')
    source = Source("jsonl", None, {"path": "a.jsonl"}, where="b == 5")
    assert [row.fields for row in read_rows(source, Inputs(tmp_path))] == [{"a": 2, "b": 5}]


def test_run_of_selected_rows_resumes_without_resending(tmp_path: Path, job: Callable[..., Summary]) -> None:
    source = {**SPEC["source"], "where": "id != 'r1'", "sample": 12, "limit": 9}
    write_job(tmp_path, source=source)
    assert job(wait=False).rows == 9
    first = job()
    assert (first.outcomes, job().run) == ({"succeeded": 9}, first.run)
    write_job(tmp_path, source={**source, "limit": 10})
    assert (job().rows, sum(paid(tmp_path / "api").values())) == (10, 10)


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


def test_query_is_snapshotted_for_the_whole_run(tmp_path: Path, job: Callable[..., Summary]) -> None:
    database(tmp_path / "t.db", *TICKETS)
    source = {"type": "sql", "path": "t.db", "query": "SELECT id, text FROM ticket ORDER BY id", "key": "id"}
    write_job(tmp_path, source=source)
    assert job(wait=False).rows == 2
    database(tmp_path / "t.db", "UPDATE ticket SET text = 'other'")
    assert job(resume=True).outcomes == {"succeeded": 2}
    assert [one["row"]["text"] for one in records(tmp_path / "out/all.jsonl")] == ["one", "two"]
    # Both say the same now, so that one of them is sent.
    assert (job().outcomes, sum(paid(tmp_path / "api").values())) == ({"succeeded": 2}, 3)


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
    tmp_path: Path, job: Callable[..., Summary], choice: dict[str, int], leave_log: bool
) -> None:
    database(tmp_path / "t.db", *TICKETS)
    query = "SELECT id, text FROM ticket ORDER BY id"
    write_job(tmp_path, source={"type": "sql", "path": "t.db", "query": query, "key": "id", **choice})
    first = job()
    assert job().run == first.run
    connection = edit(tmp_path, leave_log=leave_log)
    assert job().run != first.run
    assert records(tmp_path / "out/all.jsonl")[0]["row"]["text"] == "one!"
    connection.close()


def test_infinite_number_from_a_query_is_rejected(tmp_path: Path) -> None:
    database(tmp_path / "t.db", "CREATE TABLE t (id INTEGER, x REAL)", "INSERT INTO t VALUES (1, 9e999)")
    with pytest.raises(InputError, match=r"t\.db:1: x is infinite"):
        queried(tmp_path, "SELECT id, x FROM t")
