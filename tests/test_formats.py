"""Rows of Parquet, JSON arrays, workbooks, files of any kind, databases and URLs, whole and damaged."""

import bz2
import datetime
import gzip
import json
import lzma
import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import fsspec
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from runner import Summary, load_spec
from runner.errors import InputError
from runner.sources.changed_files import digest_files, find_changed_files
from runner.sources.input_files import InputFile, Inputs
from runner.sources.read import Row, read_rows
from runner.spec.spec import Source
from tests.jobs import paid, write_job
from tests.servers import postgres, web

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 16


def read_all(root: Path, type: str, path: str, *, inputs: Inputs | None = None, **options: Any) -> list[Row]:
    return list(read_rows(Source(type, None, {"path": path, **options}), inputs or Inputs(root)))


def read_fields(root: Path, type: str, path: str, **options: Any) -> list[dict[str, Any]]:
    return [row.fields for row in read_all(root, type, path, **options)]


def read_error(root: Path, type: str, path: str, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        read_all(root, type, path, **options)
    return str(caught.value)


def write_workbook(path: Path, *lines: list[Any], sheet: str = "Sheet") -> None:
    book = openpyxl.Workbook()
    page = book.active
    assert page is not None
    page.title = sheet
    for line in lines:
        page.append(line)
    book.save(path)


TYPED_COLUMNS: dict[str, tuple[list[Any], Any, dict[str, Any], list[Any]]] = {
    "count": ([1, None], pa.int32(), {"type": "integer", "format": "int32"}, [1, None]),
    "big": ([2**63 + 1, 0], pa.uint64(), {"type": "integer", "format": "uint64"}, [2**63 + 1, 0]),
    "share": ([0.5, float("nan")], pa.float64(), {"type": "number"}, [0.5, None]),
    "sure": ([True, None], pa.bool_(), {"type": "boolean"}, [True, None]),
    "total": (
        [Decimal("12.30"), None],
        pa.decimal128(9, 2),
        {"type": "string", "format": "decimal(9,2)"},
        ["12.30", None],
    ),
    "day": (
        [datetime.date(2026, 11, 25), None],
        pa.date32(),
        {"type": "string", "format": "date"},
        ["2026-11-25", None],
    ),
    "at": (
        [datetime.datetime(2026, 11, 25, 1, 2, 3), None],
        pa.timestamp("us", tz="UTC"),
        {"type": "string", "format": "date-time"},
        ["2026-11-25T01:02:03+00:00", None],
    ),
    "scan": ([b"\0\1", None], pa.binary(), {"type": "string", "format": "byte"}, ["AAE=", None]),
    "lists": (
        [[[1, None], []], None],
        pa.list_(pa.list_(pa.int64())),
        {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
        [[[1, None], []], None],
    ),
    "part": (
        [{"a": "é", "b": None}, None],
        pa.struct([("a", pa.string()), ("b", pa.int64())]),
        {
            "type": "object",
            "properties": {"a": {"type": "string"}, "b": {"type": "integer"}},
            "additionalProperties": False,
        },
        [{"a": "é", "b": None}, None],
    ),
}  # fmt: skip


def test_parquet_rows_have_json_values_and_column_types(tmp_path: Path) -> None:
    columns = {name: pa.array(values, kind) for name, (values, kind, _, _) in TYPED_COLUMNS.items()}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    inputs = Inputs(tmp_path)
    found = [row.fields for row in read_all(tmp_path, "parquet", "t.parquet", inputs=inputs)]
    assert found == [{name: case[3][index] for name, case in TYPED_COLUMNS.items()} for index in (0, 1)]
    assert inputs.types == {name: schema for name, (_, _, schema, _) in TYPED_COLUMNS.items()}


def test_parquet_files_are_read_in_name_order_with_one_schema(tmp_path: Path) -> None:
    for name in ("b", "a"):
        pq.write_table(pa.table({"x": [f"{name}1", f"{name}2"]}), tmp_path / f"{name}.parquet")
    assert [(row.path, row.line, row.fields["x"]) for row in read_all(tmp_path, "parquet", "*.parquet")] == [
        ("a.parquet", 1, "a1"), ("a.parquet", 2, "a2"), ("b.parquet", 1, "b1"), ("b.parquet", 2, "b2")
    ]  # fmt: skip
    pq.write_table(pa.table({"x": [1]}), tmp_path / "c.parquet")
    assert read_error(tmp_path, "parquet", "*.parquet") == (
        "c.parquet: the columns are x, but earlier files have x, or other types"
    )


def test_damaged_parquet_is_reported(tmp_path: Path) -> None:
    (tmp_path / "no.parquet").write_bytes(b"id,text\n1,a\n")
    assert read_error(tmp_path, "parquet", "no.parquet").startswith("no.parquet: cannot be read as Parquet: ")
    pq.write_table(pa.table({"x": [str(n) for n in range(9000)]}), tmp_path / "cut.parquet", compression="gzip")
    data = bytearray((tmp_path / "cut.parquet").read_bytes())
    data[2000:2100] = b"\xff" * 100
    (tmp_path / "cut.parquet").write_bytes(data)
    assert read_error(tmp_path, "parquet", "cut.parquet").startswith("cut.parquet")
    pq.write_table(pa.table({"x": [float("inf")]}), tmp_path / "inf.parquet")
    assert (
        read_error(tmp_path, "parquet", "inf.parquet") == "inf.parquet:1: x is infinite, which JSON cannot express"
    )


@pytest.mark.parametrize("gap", ["", "\n", " " * 70_000])
def test_json_array_objects_have_their_first_line(tmp_path: Path, gap: str) -> None:
    wanted = [{"n": n, "text": 'é{["\\' * n, "deep": [{"a": None}]} for n in range(60)]
    text = f"{gap}[{gap}" + f",{gap}".join(json.dumps(row, ensure_ascii=False) for row in wanted) + f"{gap}]{gap}"
    (tmp_path / "t.json").write_text(text)
    found = read_all(tmp_path, "json", "t.json")
    assert [row.fields for row in found] == wanted
    assert [row.line for row in found] == [text[: text.index(f'{{"n": {n},')].count("\n") + 1 for n in range(60)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1}', "t.json:1: expected an array of objects, not an object: is this a jsonl file?"),
        ('[{"a": 1}\n{"a": 2}]', "t.json:2: expected ',' between two objects, not '{'"),
        ('[{"a": 1},\n2]', "t.json:2: an element of the array must be an object, not int"),
        ('[{"a": 1},\n{"a": }]', "t.json:2: not valid JSON: Expecting value"),
        ('[{"a": 1},\n\n{"a": 1', "t.json:3: not valid JSON: Expecting ',' delimiter"),
        ('[{"a": NaN}]', "t.json:1: not valid JSON: NaN is not valid JSON"),
        ('[{"a": 1}', "t.json:1: expected ',' between two objects, not 'the end of the file'"),
        ('[{"a": 1}]\n[]', "t.json: unexpected '[' after the end of the array: is this a jsonl file?"),
        ("[]", "t.json: the source has no rows"),
        ("", "t.json:1: expected '[' at the beginning of the array, not 'the end of the file'"),
        ('[{"a": "\xe9"}]', "t.json:1: not UTF-8 text"),
        ("[" * 100_000, "t.json:1: not valid JSON: "),
        ('[{"a": 1e999}]', "t.json:1: not valid JSON: 1e999 is too large"),
    ],
)
def test_malformed_json_array_is_reported_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "t.json").write_bytes(text.encode("latin-1"))
    assert read_error(tmp_path, "json", "t.json").startswith(words)


def test_sheet_rows_have_typed_values(tmp_path: Path) -> None:
    day = datetime.datetime(2026, 11, 25, 1, 2)
    write_workbook(
        tmp_path / "t.xlsx", [None], ["id", "n", "x", "at", "ok"], [1, 2, 0.5, day, True], [None], ["a", 3]
    )
    assert [(row.line, row.fields) for row in read_all(tmp_path, "xlsx", "t.xlsx")] == [
        (3, {"id": 1, "n": 2, "x": 0.5, "at": "2026-11-25T01:02:00", "ok": True}),
        (5, {"id": "a", "n": 3, "x": None, "at": None, "ok": None}),
    ]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([["a", "a"], [1, 2]], "t.xlsx:1: two columns are named 'a' in row 1, the header"),
        ([["a", None, "c"], [1, 2, 3]], "t.xlsx:1: column 2 has no name in row 1, the header"),
        ([["a"], [1], [2, 3]], "t.xlsx:3: there is a value outside the 1 columns of the header"),
        ([["a"], ["#REF!"]], "t.xlsx:2: A2 contains the error #REF!"),
        ([], "t.xlsx: the sheet is empty: expected a header row"),
        ([["a"]], "t.xlsx: the source has no rows"),
    ],
)
def test_malformed_sheet_is_reported_with_its_row(tmp_path: Path, lines: list[list[Any]], words: str) -> None:
    write_workbook(tmp_path / "t.xlsx", *lines)
    assert read_error(tmp_path, "xlsx", "t.xlsx") == words


def test_invalid_workbook_or_missing_sheet_is_reported(tmp_path: Path) -> None:
    (tmp_path / "no.xlsx").write_bytes(b"PK\x03\x04 no zip")
    assert read_error(tmp_path, "xlsx", "no.xlsx").startswith(
        "no.xlsx: cannot be read as an Excel workbook (.xlsx, without a password): "
    )
    write_workbook(tmp_path / "t.xlsx", ["a"], [1], sheet="Data")
    assert (
        read_error(tmp_path, "xlsx", "t.xlsx", sheet="Dat") == "t.xlsx: there is no sheet 'Dat': the file has Data"
    )
    assert read_fields(tmp_path, "xlsx", "t.xlsx", sheet="Data") == [{"a": 1}]


def test_media_type_comes_from_bytes_not_names(tmp_path: Path) -> None:
    contents = {
        "a.txt": b"%PDF-1.7", "b.pdf": PNG, "c.jpg": b"RIFF\0\0\0\0WEBPVP8 ", "d": "é".encode() * 9000,
        "e.csv": b"a,b\n", "f.bin": b"\0\1\2", "g": b"",
    }  # fmt: skip
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
        os.utime(tmp_path / name, (1.5, 1.5))
    found = read_fields(tmp_path, "files", "*")
    assert {row["path"]: row["media_type"] for row in found} == {
        "a.txt": "application/pdf", "b.pdf": "image/png", "c.jpg": "image/webp", "d": "text/plain",
        "e.csv": "text/csv", "f.bin": "application/octet-stream", "g": "text/plain",
    }  # fmt: skip
    assert found[0] == {
        "path": "a.txt", "name": "a.txt", "media_type": "application/pdf", "size": 8,
        "modified": "1970-01-01T00:00:01+00:00",
    }  # fmt: skip


@pytest.mark.parametrize(("suffix", "pack"), [("bz2", bz2.compress), ("xz", lzma.compress)])
def test_compressed_file_is_read_and_damage_is_reported(tmp_path: Path, suffix: str, pack: Any) -> None:
    path = tmp_path / f"t.csv.{suffix}"
    path.write_bytes(pack(b"a\n1\n2\n"))
    assert read_fields(tmp_path, "csv", path.name) == [{"a": "1"}, {"a": "2"}]
    path.write_bytes(path.read_bytes()[:-6])
    assert read_error(tmp_path, "csv", path.name).startswith(f"t.csv.{suffix}: cannot read: ")


@pytest.fixture
def bucket() -> Iterator[str]:
    """A folder of an object store that lives in memory."""
    fsspec.filesystem("memory").pipe("/bucket/one.csv", b"a\n1\n")
    fsspec.filesystem("memory").pipe("/bucket/two.csv", b"a\n2\n")
    yield "memory:///bucket"
    fsspec.filesystem("memory").rm("/bucket", recursive=True)


def test_glob_of_urls_is_read_in_order_with_versions(tmp_path: Path, bucket: str) -> None:
    inputs = Inputs(tmp_path)
    found = read_all(tmp_path, "csv", f"{bucket}/*.csv", inputs=inputs)
    assert [(row.path, row.fields) for row in found] == [
        (f"{bucket}/one.csv", {"a": "1"}), (f"{bucket}/two.csv", {"a": "2"})
    ]  # fmt: skip
    assert all(file.version and file.sha256 for file in inputs.files)
    before = digest_files(tmp_path, f"{bucket}/*.csv")
    assert (find_changed_files(tmp_path, f"{bucket}/*.csv", inputs.files), len(before)) == ([], 64)
    fsspec.filesystem("memory").pipe("/bucket/two.csv", b"a\n3\n")
    assert find_changed_files(tmp_path, f"{bucket}/*.csv", inputs.files) == [f"{bucket}/two.csv"]
    assert digest_files(tmp_path, f"{bucket}/*.csv") != before


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("memory:///absent.csv", "memory:///absent.csv: cannot read: no such file"),
        ("memory:///absent/*.csv", "memory:///absent/*.csv: no file matches"),
        ("nosuch://x/y.csv", "nosuch://x/y.csv: cannot read: ValueError: Protocol not known: nosuch"),
        ("http://127.0.0.1:9/x.csv", "http://127.0.0.1:9/x.csv: cannot read: "),
        ("s3://bucket/x.csv", "s3://bucket/x.csv: cannot read: Install s3fs to access S3"),
        ("memory:///x::file:///etc/passwd", "memory:///x::file:///etc/passwd: cannot read: no such file"),
        ("MEMORY:///absent.csv", "MEMORY:///absent.csv: cannot read: no such file"),
    ],
)
def test_unreadable_url_is_reported(tmp_path: Path, url: str, words: str) -> None:
    assert read_error(tmp_path, "csv", url).startswith(words)


@pytest.mark.parametrize("type", ["csv", "text"])
def test_object_store_folder_is_not_an_empty_file(tmp_path: Path, bucket: str, type: str) -> None:
    assert read_error(tmp_path, type, bucket).startswith(f"{bucket}: cannot read: is a folder: name files")


@pytest.mark.parametrize("name", ["what?.csv.gz", "a[1].csv.gz", "a::b.csv.gz"])
def test_object_names_may_hold_any_character(tmp_path: Path, bucket: str, name: str) -> None:
    fsspec.filesystem("memory").pipe(f"/bucket/{name}", gzip.compress(b"a\n7\n"))
    assert read_fields(tmp_path, "csv", f"{bucket}/{name}") == [{"a": "7"}]


def test_files_of_every_format_are_read_from_a_web_server(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": ["1", "2"]}), tmp_path / "t.parquet")
    write_workbook(tmp_path / "t.xlsx", ["a"], ["1"], ["2"])
    (tmp_path / "t.json").write_text('[{"a": "1"}, {"a": "2"}]')
    (tmp_path / "t.csv.bz2").write_bytes(bz2.compress(b"a\n1\n2\n"))
    with web(tmp_path) as url:
        for name in ("t.parquet", "t.xlsx", "t.json", "t.csv.bz2"):
            inputs = Inputs(tmp_path)
            found = read_all(tmp_path, name.split(".")[1], f"{url}/{name}", inputs=inputs)
            assert [row.fields for row in found] == [{"a": "1"}, {"a": "2"}], name
            assert find_changed_files(tmp_path, f"{url}/{name}", inputs.files) == []
        [row] = read_fields(tmp_path, "files", f"{url}/t.parquet")
        assert (row["name"], row["size"]) == ("t.parquet", (tmp_path / "t.parquet").stat().st_size)
        os.utime(tmp_path / "t.json", (1, 1))
        assert find_changed_files(tmp_path, f"{url}/t.json", [InputFile(f"{url}/t.json", 24, 0, "0", "x")]) != []


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


def without(folder: Path, *packages: str) -> None:
    """Fill a folder with the packages that are installed, but for these."""
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if entry.name.split("-")[0] not in packages and not entry.name.startswith("_message_batch_runner"):
            (folder / entry.name).symlink_to(entry)


@pytest.mark.parametrize(
    ("type", "path", "package", "extra"),
    [
        ("parquet", "t.parquet", "pyarrow", "data"),
        ("csv", "memory://t.csv", "fsspec", "data"),
        ("xlsx", "t.xlsx", "openpyxl", "xlsx"),
    ],
)
def test_missing_package_is_reported_with_its_extra(
    tmp_path: Path, type: str, path: str, package: str, extra: str
) -> None:
    without(tmp_path, package)
    repository = Path(__file__).parents[1]
    program = (
        "import sys, pathlib; sys.path[:0] = sys.argv[1:3]\n"
        "from runner.sources import *; from runner.spec import Source\n"
        f"list(read(Source({type!r}, None, {{'path': {path!r}}}), Inputs(pathlib.Path('.'))))"
    )
    command = [sys.executable, "-S", "-c", program, str(repository), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    wanted = f"{package} is not installed: pip install 'message-batch-runner[{extra}]'"
    assert done.stderr.strip().endswith(wanted), done.stderr


def test_finished_query_is_run_again_and_pays_for_new_rows(tmp_path: Path, job: Callable[..., Summary]) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/t.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t AS SELECT 1 AS id, 'a' AS text")
    url = f"sqlite:///{tmp_path}/t.db"
    write_job(tmp_path, source={"type": "sql", "url": url, "query": "SELECT * FROM t ORDER BY id", "key": "id"})
    unfinished = job(wait=False)
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO t VALUES (2, 'b')")
    assert (unfinished.exit_code, job().run, job().rows) == (4, unfinished.run, 2)
    assert sorted(paid(tmp_path / "api")) == [("1", 1), ("1", 2)]


def test_database_password_is_not_in_snapshot_or_fingerprint(tmp_path: Path) -> None:
    write_job(
        tmp_path, source={"type": "sql", "url": "postgresql://me:${env:DB_PASSWORD}@db/x", "query": "SELECT 1"}
    )
    with pytest.MonkeyPatch.context() as patch:
        records = []
        for password in ("secret", "rotated"):
            patch.setenv("DB_PASSWORD", password)
            records.append(load_spec(tmp_path / "job.yaml").to_record())
    assert records[0] == records[1]
    assert records[0]["source"]["options"]["url"] == "postgresql://me@db/x"


def test_workbook_with_a_false_size_loses_no_row(tmp_path: Path) -> None:
    write_workbook(tmp_path / "t.xlsx", ["a", "b"], [1, 2], [3, 4])
    with zipfile.ZipFile(tmp_path / "t.xlsx") as before, zipfile.ZipFile(tmp_path / "u.xlsx", "w") as after:
        for name in before.namelist():
            after.writestr(name, before.read(name).replace(b'<dimension ref="A1:B3"', b'<dimension ref="A1"'))
    assert (
        read_fields(tmp_path, "xlsx", "u.xlsx")
        == read_fields(tmp_path, "xlsx", "t.xlsx")
        == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]
    )


def test_date_cell_is_read_as_a_date(tmp_path: Path) -> None:
    write_workbook(tmp_path / "t.xlsx", ["day", 2024], [datetime.date(2026, 11, 25), 1])
    assert read_fields(
        tmp_path,
        "xlsx",
        "t.xlsx",
    ) == [{"day": "2026-11-25", "2024": 1}]


def test_parquet_nanoseconds_are_truncated(tmp_path: Path) -> None:
    moment = pa.array([1_764_032_523_123_456_789], pa.timestamp("ns", tz="Europe/Berlin"))
    pq.write_table(pa.table({"at": moment}), tmp_path / "t.parquet")
    assert read_fields(tmp_path, "parquet", "t.parquet") == [{"at": "2025-11-25T01:02:03.123456+00:00"}]
    far = pa.array([1 << 60], pa.timestamp("us"))
    pq.write_table(pa.table({"at": far}), tmp_path / "far.parquet")
    assert read_error(tmp_path, "parquet", "far.parquet").startswith("far.parquet: cannot be read as Parquet: ")


@pytest.mark.parametrize("name", ["columns", "types"])
def test_field_missing_from_every_row_is_reported(tmp_path: Path, name: str) -> None:
    (tmp_path / "t.jsonl").write_text('{"id": 1}\n{"id": 2}\n')
    choice: Any = {"columns": ("id", "idd")} if name == "columns" else {"types": {"idd": "integer"}}
    with pytest.raises(InputError, match="no row has the field 'idd'"):
        list(read_rows(Source("jsonl", None, {"path": "t.jsonl"}, **choice), Inputs(tmp_path)))


SECRETS = [
    "postgresql://me:PASSWORD@db/x", "postgresql://me@corp:PASSWORD@db/x", "postgresql://me:x@PASSWORD@db/x",
    "postgresql://me:pa/PASSWORD@db/x", "postgresql://db/x?user=me&password=PASSWORD",
    "postgresql:///x?host=db&sslpassword=PASSWORD&a=b", "postgresql://me:x@PASSWORD:99x@127.0.0.1:port/x",
    "https://me:PASSWORD@host/a.csv", "https://host/a.csv?sv=1&sig=PASSWORD", "p.q://me:PASSWORD@h/d",
    "mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BPWD%3DPASSWORD", "pg:me:PASSWORD",
]  # fmt: skip


@pytest.mark.parametrize("url", SECRETS)
def test_no_secret_of_a_url_is_shown_or_recorded(tmp_path: Path, url: str) -> None:
    is_file = url.startswith("https")
    source = {"type": "csv", "path": url} if is_file else {"type": "sql", "url": url, "query": "SELECT 1"}
    write_job(tmp_path, source=source)
    try:
        spec = load_spec(tmp_path / "job.yaml")
        assert "PASSWORD" not in json.dumps(spec.to_record())
        list(read_rows(spec.source, Inputs(tmp_path)))
    except InputError as error:
        assert "PASSWORD" not in str(error)


def test_large_json_object_does_not_slow_down_the_rest(tmp_path: Path) -> None:
    large = {"text": "x" * 5_000_000}
    (tmp_path / "t.json").write_text(json.dumps([large, *[{"n": n} for n in range(50_000)]]))
    assert len(read_fields(tmp_path, "json", "t.json")) == 50_001


def test_all_missing_packages_are_reported_at_once(tmp_path: Path) -> None:
    packages = {"documents": "PIL", "data": "pyarrow", "xlsx": "openpyxl", "sql": "sqlalchemy"}
    (tmp_path / "site").mkdir()
    without(tmp_path / "site", *packages.values())
    sinks = [{"type": type, "path": f"out/{type}"} for type in ("parquet", "xlsx")]
    sinks.append({"type": "sql", "path": "out/t.db", "table": "t"})
    write_job(tmp_path, prompt={"user": [{"type": "document", "path": "{{ id }}"}]}, sinks=sinks)
    program = (
        "import sys; sys.path[:0] = sys.argv[1:3]; from runner.cli import main; main(['validate', 'job.yaml'])"
    )
    repository = str(Path(__file__).parents[1])
    command = [sys.executable, "-S", "-c", program, repository, str(tmp_path / "site")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    for extra, package in packages.items():
        assert f"{package} is not installed: pip install 'message-batch-runner[{extra}]'" in done.stderr
