"""Parquet, tables, workbooks, files, URLs: outcomes with the types that they have, whole or not at all."""

import bz2
import datetime
import json
import lzma
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import fsspec
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from runner import Summary, load_spec, run
from runner.errors import InputError
from runner.sinks.check import check_destination, check_sinks
from runner.sinks.destination import Destination, resolve_destination
from runner.sinks.formats.xlsx import write_xlsx
from runner.sinks.open import open_sink
from runner.spec.spec import Spec
from runner.tabular.database import Transactions
from tests.jobs import SPEC, paid, write_job
from tests.servers import postgres
from tests.test_formats import TYPED_COLUMNS
from tests.test_sinks import outcome_record, spec_with

TYPED_SCHEMA = {
    "$defs": {
        "line": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "n": {"type": "integer"}},
            "additionalProperties": False,
        }
    },
    "type": "object",
    "properties": {
        "total": {"type": "number"},
        "count": {"type": ["integer", "null"]},
        "sure": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
        "day": {"type": "string", "format": "date"},
        "label": {"enum": ["a", "b"]},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
        "more": {"type": "object"},
    },
}
TYPED_ANSWER = {
    "total": 3, "count": None, "sure": True, "day": "2026-11-25", "label": "a",
    "lines": [{"name": "x", "n": 1}, {"name": "é"}], "more": {"k": [1]},
}  # fmt: skip
TYPED_SINK_COLUMNS = {name: f"output.{name}" for name in TYPED_ANSWER}


def typed_spec(root: Path, **sink: Any) -> Spec:
    spec = json.loads(json.dumps(SPEC))
    columns = {"id": "key", **TYPED_SINK_COLUMNS, "money": "output.total", "row": "row", "why": "error.message"}
    types = {"money": "decimal(10,2)"}
    spec["sinks"] = [{"path": "out/o", "columns": columns, "types": types, **sink}]
    spec["output"] = {"schema": TYPED_SCHEMA}
    (root / "prompts").mkdir(exist_ok=True)
    (root / "typed.yaml").write_text(json.dumps(spec))
    return load_spec(root / "typed.yaml")


FAILED_RECORD = outcome_record(
    "invalid", key="k2", output="no JSON", error={"type": "invalid", "message": "not JSON"}
)


def write_sink(spec: Spec, at: Destination, *records: dict[str, Any], types: Any = None) -> None:
    with open_sink(spec, 0, at, types or {}) as take:
        for one in records:
            take(one)


def test_parquet_has_the_types_of_the_output_schema(tmp_path: Path) -> None:
    write_sink(
        typed_spec(tmp_path, type="parquet"),
        Destination(tmp_path / "o"),
        outcome_record(output=TYPED_ANSWER),
        FAILED_RECORD,
    )
    table = pq.read_table(tmp_path / "o")
    assert {field.name: str(field.type) for field in table.schema} == {
        "id": "string", "total": "double", "count": "int64", "sure": "bool", "day": "date32[day]",
        "label": "string", "lines": "list<element: struct<name: string, n: int64>>", "more": "string",
        "money": "decimal128(10, 2)", "row": "string", "why": "string",
    }  # fmt: skip
    first, second = table.to_pylist()
    assert first == {
        "id": "k1", "total": 3.0, "count": None, "sure": True, "day": datetime.date(2026, 11, 25), "label": "a",
        "lines": [{"name": "x", "n": 1}, {"name": "é", "n": None}], "more": '{"k":[1]}', "money": Decimal("3.00"),
        "row": '{"a":1}', "why": None,
    }  # fmt: skip
    assert second == {**dict.fromkeys(first), "id": "k2", "row": '{"a":1}', "why": "not JSON"}


def test_parquet_types_round_trip_from_source_to_sink(tmp_path: Path, job: Callable[..., Summary]) -> None:
    columns: dict[str, Any] = {
        name: pa.array(values, kind) for name, (values, kind, _, _) in TYPED_COLUMNS.items()
    }
    columns["share"] = pa.array([0.5, None])
    source = pa.table({"id": ["a", "b"], **columns})
    pq.write_table(source, tmp_path / "in.parquet")
    wanted = {"id": "key", **{name: f"row.{name}" for name in TYPED_COLUMNS}}
    write_job(
        tmp_path,
        source={"type": "parquet", "path": "in.parquet", "key": "id"},
        prompt={"user": "{{ id }}"},
        sinks=[{"type": "parquet", "path": "out/o.parquet", "columns": wanted}],
    )
    assert job().exit_code == 0
    found = pq.read_table(tmp_path / "out/o.parquet")
    assert found.to_pylist() == source.to_pylist()
    assert [str(field.type).replace("element", "item") for field in found.schema] == [
        str(field.type).replace("element", "item") for field in source.schema
    ]


def test_parquet_without_rows_has_its_columns(tmp_path: Path) -> None:
    write_sink(typed_spec(tmp_path, type="parquet"), Destination(tmp_path / "o"))
    assert (pq.read_table(tmp_path / "o").num_rows, pq.read_schema(tmp_path / "o").names[0]) == (0, "id")


@pytest.mark.parametrize("type", ["parquet", "xlsx"])
def test_the_same_rows_give_the_same_bytes(tmp_path: Path, type: str) -> None:
    for name in ("a", "b"):
        if name == "b":
            # Formats have times in seconds.
            time.sleep(1.1)
        write_sink(
            typed_spec(tmp_path, type=type),
            Destination(tmp_path / name),
            *[outcome_record(output=TYPED_ANSWER)] * 3,
        )
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("type", ["parquet", "sql", "xlsx"])
def test_value_of_the_wrong_type_is_reported_with_row_and_column(tmp_path: Path, type: str) -> None:
    own = {"sql": {"table": "t", "key": "id"}}.get(type, {})
    spec = typed_spec(tmp_path, type=type, types={"label": "integer"}, **own)
    with pytest.raises(InputError) as caught:
        write_sink(spec, Destination(tmp_path / "o"), outcome_record(output=TYPED_ANSWER))
    assert "the row 'k1': label: 'a' is not a whole number" in str(caught.value)


def test_workbook_has_numbers_dates_and_no_formulas(tmp_path: Path) -> None:
    spec = typed_spec(tmp_path, type="xlsx", sheet="Out")
    answer = {**TYPED_ANSWER, "label": "=1+1\x07", "count": 10**17}
    write_sink(spec, Destination(tmp_path / "o.xlsx"), outcome_record(output=answer), FAILED_RECORD)
    page = openpyxl.load_workbook(tmp_path / "o.xlsx")["Out"]
    header, first, second = page.iter_rows()
    found = {str(name.value): cell for name, cell in zip(header, first, strict=True)}
    assert {name: cell.value for name, cell in found.items()} == {
        "id": "k1", "total": 3, "count": "100000000000000000", "sure": True, "money": 3,
        "day": datetime.datetime(2026, 11, 25), "label": "=1+1_x0007_", "row": '{"a":1}', "why": None,
        "lines": '[{"name":"x","n":1},{"name":"é"}]', "more": '{"k":[1]}',
    }  # fmt: skip
    assert found["label"].data_type == "s"
    assert [cell.value for cell in second][-1] == "not JSON"


def test_text_too_long_for_a_cell_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a cell can hold at most 32,767 characters, but this text has 40,000"):
        write_sink(
            spec_with(tmp_path, {"type": "xlsx"}),
            Destination(tmp_path / "o"),
            outcome_record(key=1, output="x" * 40_000),
        )
    assert not (tmp_path / "o").exists()


def rows_of(url: str, table: str = "t") -> list[tuple[Any, ...]]:
    driver = url.replace("postgresql:", "postgresql+psycopg:")
    with sa.create_engine(driver, poolclass=sa.pool.NullPool).connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(f"SELECT * FROM {table} ORDER BY 1")]  # noqa: S608


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


def test_postgresql_has_typed_columns_and_stable_rewrites(tmp_path: Path) -> None:
    spec = typed_spec(tmp_path, type="sql", table="made.t", key="id")
    with postgres() as url:
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
    assert problem is not None and words in problem.message


def test_unreachable_database_is_reported_without_its_password(tmp_path: Path) -> None:
    spec = typed_spec(tmp_path, type="sql", table="t", key="id")
    problem = check_destination(spec, 0, Destination(url="postgresql://me:secret@127.0.0.1:9/x"))
    assert problem is not None and problem.message.startswith("cannot write: postgresql://me@127.0.0.1:9/x: ")
    assert "secret" not in problem.message


def test_table_key_must_be_a_column(tmp_path: Path) -> None:
    [problem] = check_sinks(typed_spec(tmp_path, type="sql", table="t"))
    assert problem.message.startswith("there is no column 'key' to identify the rows of the table")


def files_spec(root: Path, **sink: Any) -> Spec:
    spec = {**SPEC, "sinks": [{"type": "files", "path": "out/f", "name": "key ~ '.md'", **sink}]}
    (root / "prompts").mkdir(exist_ok=True)
    (root / "files.yaml").write_text(json.dumps(spec))
    return load_spec(root / "files.yaml")


def test_file_name_and_content_are_expressions(tmp_path: Path) -> None:
    spec = files_spec(tmp_path, name="row.a ~ '/' ~ key ~ '.md'", rows="succeeded")
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "other").write_text("stays")
    for text in ("old", "é\r\n"):
        write_sink(
            spec,
            Destination(tmp_path / "f"),
            outcome_record(output=text),
            FAILED_RECORD,
            outcome_record(key="k3", output={"n": [1]}),
        )
    found = {str(path.relative_to(tmp_path / "f")): path.read_bytes() for path in tmp_path.glob("f/**/*.*")}
    assert found == {"1/k1.md": "é\r\n".encode(), "1/k3.md": b'{"n":[1]}'}
    assert sorted(path.name for path in tmp_path.iterdir() if path.name not in ("prompts", "files.yaml")) == ["f"]
    assert (tmp_path / "f" / "other").read_text() == "stays"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("'../' ~ key", "'../k1' is not a path inside the folder"),
        ("'/etc/passwd'", "'/etc/passwd' is not a path inside the folder"),
        ("'a/../../b'", "is not a path inside the folder"),
        ("'.'", "'.' is not a path inside the folder"),
        ("row.none", "None is not a valid file name"),
        ("' '", "' ' is not a valid file name"),
        ("'same'", "the file name 'same' is already used by an earlier row"),
        ("'x' * 300", "a file name can have at most 255 bytes"),
    ],
)
def test_invalid_file_name_writes_nothing(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        write_sink(
            files_spec(tmp_path, name=name),
            Destination(tmp_path / "f"),
            outcome_record(output="x"),
            outcome_record(output="y"),
        )
    assert words in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files.yaml", "prompts"]


def test_link_cannot_lead_files_out_of_their_folder(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "f" / "sub").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is a link to a place outside"):
        write_sink(
            files_spec(tmp_path, name="'sub/' ~ key"), Destination(tmp_path / "f"), outcome_record(output="x")
        )
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize(("suffix", "unpack"), [("bz2", bz2.decompress), ("xz", lzma.decompress)])
def test_an_output_is_compressed_by_its_suffix(tmp_path: Path, suffix: str, unpack: Any) -> None:
    spec = spec_with(tmp_path, {"columns": {"k": "key"}})
    write_sink(spec, Destination(tmp_path / f"o.jsonl.{suffix}"), outcome_record())
    assert unpack((tmp_path / f"o.jsonl.{suffix}").read_bytes()) == b'{"k":"k1"}\n'


@pytest.mark.parametrize("type", ["jsonl", "csv", "parquet", "xlsx"])
def test_output_at_a_url_appears_whole_or_not_at_all(tmp_path: Path, type: str) -> None:
    spec, store = spec_with(tmp_path, {"type": type, "path": "memory:///out/o", "columns": {"k": "key"}}), "/out/o"
    memory = fsspec.filesystem("memory")
    at = resolve_destination(spec.sinks[0], root=tmp_path, base=tmp_path)
    with pytest.raises(KeyboardInterrupt), open_sink(spec, 0, at, {}) as take:
        take(outcome_record(key=1))
        raise KeyboardInterrupt
    assert not memory.exists(store)
    write_sink(spec, at, outcome_record(key=1))
    write_sink(spec, Destination(tmp_path / "same"), outcome_record(key=1))
    assert memory.cat(store) == (tmp_path / "same").read_bytes()
    memory.rm(store)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://example.com/o.jsonl", "cannot write outputs to a web server"),
        ("s3://bucket/o.jsonl", "Install s3fs to access S3"),
        ("nosuch://bucket/o.jsonl", "Protocol not known: nosuch"),
        ("memory://", "is not a file"),
        ("memory:///out/", "is not a file"),
    ],
)
def test_unwritable_url_is_reported_before_sending(tmp_path: Path, url: str, words: str) -> None:
    problem = check_destination(spec_with(tmp_path, {"path": url}), 0, Destination(url=url))
    assert problem is not None and words in problem.message


def test_a_simulated_run_leaves_buckets_and_databases_alone(tmp_path: Path) -> None:
    sinks = [
        {"type": "sql", "table": "t", "url": "postgresql://me:secret@127.0.0.1:9/x"},
        {"type": "csv", "path": "s3://bucket/o.csv"},
    ]
    write_job(tmp_path, sinks=sinks)
    assert run(load_spec(tmp_path / "job.yaml"), simulate=True).exit_code == 0
    table = tmp_path / "simulated/postgresql/me_127.0.0.1_9/x.db"
    assert len(rows_of(f"sqlite:///{table}")) == 20
    assert len((tmp_path / "simulated/s3/bucket/o.csv").read_text().splitlines()) == 21


@pytest.mark.parametrize("type", ["parquet", "sql", "xlsx"])
def test_typed_sink_without_columns_takes_source_columns(
    tmp_path: Path, job: Callable[..., Summary], type: str
) -> None:
    pq.write_table(pa.table({"id": ["a", "b"], "n": [1, None]}), tmp_path / "in.parquet")
    sink = {"type": type, "path": "out/o", **({"table": "t"} if type == "sql" else {})}
    source = {"type": "parquet", "path": "in.parquet", "key": "id"}
    write_job(tmp_path, source=source, prompt={"user": "{{ id }}"}, sinks=[sink])
    assert job().exit_code == 0
    if type == "parquet":
        assert pq.read_table(tmp_path / "out/o").column("row").to_pylist() == [
            {"id": "a", "n": 1}, {"id": "b", "n": None}
        ]  # fmt: skip


def test_files_have_names_from_columns_of_the_row(tmp_path: Path, job: Callable[..., Summary]) -> None:
    write_job(tmp_path, rows=2, sinks=[{"type": "files", "path": "out/f", "name": "row.id ~ '.md'"}])
    assert job().exit_code == 0
    assert sorted(path.name for path in (tmp_path / "out/f").iterdir()) == ["r1.md", "r2.md"]


def sql_sink(**sink: Any) -> dict[str, Any]:
    return {"type": "sql", "key": "id", "columns": {"id": "key", "label": "output.label"}, **sink}


@pytest.mark.parametrize("place", ["file", "server"])
def test_tables_of_one_database_are_written_together(
    tmp_path: Path, job: Callable[..., Summary], place: str
) -> None:
    with postgres() if place == "server" else nullcontext(f"sqlite:///{tmp_path}/out/o.db") as url:
        at = {"url": url} if place == "server" else {"path": "out/o.db"}
        sinks = [sql_sink(**at, table="good", rows="succeeded"), sql_sink(**at, table="bad", rows="failed")]
        write_job(
            tmp_path,
            rows=1_200,
            sinks=sinks,
            batch={**SPEC["batch"], "max_requests": 1_000},
            retry={"attempts": 1},
        )
        assert job(mix=lambda one: "errored" if one.endswith("7") else "succeeded").outcomes["errored"] == 120
        assert (len(rows_of(url, "good")), len(rows_of(url, "bad"))) == (1_080, 120)


HELD = {
    "file": ("timeout=0.2", "BEGIN EXCLUSIVE", "PRAGMA busy_timeout", 600_000),
    "server": ("options=-clock_timeout%3D200", "LOCK TABLE t", "SHOW lock_timeout", "10min"),
}


@pytest.mark.parametrize("place", HELD)
def test_locked_table_is_waited_for_only_so_long(tmp_path: Path, job: Callable[..., Summary], place: str) -> None:
    patience, hold, query, seconds = HELD[place]
    (tmp_path / "out").mkdir()
    with (
        postgres() if place == "server" else nullcontext(f"sqlite:///{tmp_path}/out/o.db") as url,
        Transactions() as transactions,
        Transactions() as others,
    ):
        write_job(tmp_path, sinks=[sql_sink(url=f"{url}?{patience}", table="t")])
        job()
        assert transactions.connection(url).exec_driver_sql(query).scalar() == seconds
        others.connection(url).exec_driver_sql(hold)
        began = len(list((tmp_path / "api").glob("*.json")))
        with pytest.raises(InputError, match=r"lock timeout|is locked"):
            job(new=True)
        assert len(list((tmp_path / "api").glob("*.json"))) == began
        with pytest.raises(InputError, match=r"lock timeout.*run again: nothing is lost|is locked"):
            job()
        others.connection(url).rollback()
        assert job().exit_code == 0
    assert sum(paid(tmp_path / "api").values()) == 20


def test_two_sinks_on_one_table_are_rejected(tmp_path: Path, job: Callable[..., Summary]) -> None:
    write_job(tmp_path, sinks=[sql_sink(path="o.db", table="t", rows=rows) for rows in ("succeeded", "failed")])
    with pytest.raises(InputError, match=r"would overwrite sinks\.0"):
        job()


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


@pytest.mark.parametrize("case", UNFIT)
def test_unsuitable_server_table_is_reported_before_sending(
    tmp_path: Path, job: Callable[..., Summary], case: str
) -> None:
    statement, changes = UNFIT[case]
    with postgres() as url:
        engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.pool.NullPool)
        with engine.begin() as connection:
            connection.exec_driver_sql(statement)
        own = url.replace("tester:secret", changes.get("user", "tester"))
        write_job(tmp_path, sinks=[sql_sink(url=own, table=changes.get("table", "t"))])
        with pytest.raises(InputError, match="cannot write: "):
            job()
    assert list((tmp_path / "api").glob("*.json*")) == []


def test_failing_sink_is_reported(tmp_path: Path) -> None:
    spec = spec_with(tmp_path, {"type": "parquet", "columns": {"n": "output"}, "types": {"n": "integer"}}, {})
    with (
        pytest.raises(InputError, match=r"cannot write .*first: .* too large"),
        open_sink(spec, 0, Destination(tmp_path / "first"), {}) as first,
        open_sink(spec, 1, Destination(tmp_path / "second"), {}) as second,
    ):
        for take in (first, second):
            take(outcome_record(key=1, output=2**64 - 1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["second", "t.yaml"]


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (datetime.time(1, 2, 3), datetime.time(1, 2, 3)),
        (b"\xff\x00", "/wA="),
        (Decimal("12345678901234567890.12"), "12345678901234567890.12"),
        (Decimal("12.50"), 12.5),
    ],
)
def test_workbook_keeps_values_as_exactly_as_possible(tmp_path: Path, value: Any, kept: Any) -> None:
    with write_xlsx(Destination(tmp_path / "o.xlsx"), {"v": {}}) as put:
        put([value])
    page = openpyxl.load_workbook(tmp_path / "o.xlsx").active
    assert page is not None and page["A2"].value == kept


@pytest.mark.parametrize("type", ["parquet", "xlsx"])
def test_parquet_and_xlsx_reject_a_compression_suffix(tmp_path: Path, type: str) -> None:
    [problem] = check_sinks(spec_with(tmp_path, {"type": type, "path": "out/o.gz"}))
    assert problem.message == f"out/o.gz would be compressed twice ({type} files already are): remove the suffix"


def test_keys_missing_from_the_schema_are_kept(tmp_path: Path) -> None:
    spec = json.loads(typed_spec(tmp_path, type="parquet").path.read_text())
    spec["output"]["schema"]["properties"]["more"]["properties"] = {"k": {"type": "string"}}
    (tmp_path / "typed.yaml").write_text(json.dumps(spec))
    write_sink(
        load_spec(tmp_path / "typed.yaml"),
        Destination(tmp_path / "o"),
        outcome_record(output={**TYPED_ANSWER, "more": {"k": "a", "z": 1}}),
    )
    assert pq.read_table(tmp_path / "o").column("more").to_pylist() == ['{"k":"a","z":1}']


@pytest.mark.parametrize("path", ["/tmp/../../../escaped", "a/../../escaped"])  # noqa: S108 - nothing is written
def test_simulated_run_cannot_leave_its_folder(tmp_path: Path, path: str) -> None:
    [sink] = spec_with(tmp_path, {"path": "x"}).sinks
    moved = resolve_destination(replace(sink, options={"path": path}), root=tmp_path, base=tmp_path / "simulated")
    assert moved.path is not None and moved.path.resolve().is_relative_to(tmp_path / "simulated")
