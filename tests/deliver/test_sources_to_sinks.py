"""Every source with every sink: each row arrives once and unchanged."""

import csv
import io
import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from openpyxl.utils.escape import escape

from runner import load_spec, run
from runner.sinks.registry import SINKS
from runner.sources.registry import SOURCES
from tests.support.projects import SPEC, write_job
from tests.support.sources import write_workbook

TEXTS = [
    "plain",
    "é\u2028ü",
    'quo"ted, and',
    "=1+1",
    "two\nlines\r\x07",
    "0012",
    "{{ x }}",
    "-5",
    "\U0001f600",
    "null",
]
ROWS = [{"id": f"r{number}", "text": text} for number, text in enumerate(TEXTS)]


def _csv(root: Path) -> dict[str, Any]:
    with (root / "in.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "text"])
        writer.writeheader()
        writer.writerows(ROWS)
    return {"path": "in.csv"}


def _files(root: Path) -> dict[str, Any]:
    (root / "in").mkdir()
    for row in ROWS:
        (root / "in" / row["id"]).write_text(row["text"], newline="")
    return {"path": "in/*", "key": "name"}


def _json(root: Path) -> dict[str, Any]:
    (root / "in.json").write_text(json.dumps(ROWS, indent=1))
    return {"path": "in.json"}


def _jsonl(root: Path) -> dict[str, Any]:
    (root / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return {"path": "in.jsonl"}


def _parquet(root: Path) -> dict[str, Any]:
    pq.write_table(pa.Table.from_pylist(ROWS), root / "in.parquet")
    return {"path": "in.parquet"}


def _run(root: Path) -> dict[str, Any]:
    own = {"path": "first.csv", "key": "id", "type": "csv"}
    (root / _csv(root)["path"]).rename(root / "first.csv")
    spec = {**SPEC, "name": "first", "source": own, "sinks": [{"type": "jsonl", "path": "out/first.jsonl"}]}
    (root / "first.yaml").write_text(json.dumps(spec))
    assert run(load_spec(root / "first.yaml"), simulate=True).exit_code == 0
    return {"spec": "first.yaml", "key": "key"}


def _sql(root: Path) -> dict[str, Any]:
    with closing(sqlite3.connect(root / "in.db")) as connection, connection:
        connection.execute("CREATE TABLE t (id TEXT, text TEXT)")
        connection.executemany("INSERT INTO t VALUES (:id, :text)", ROWS)
    return {"path": "in.db", "query": "SELECT * FROM t ORDER BY id"}


def _xlsx(root: Path) -> dict[str, Any]:
    write_workbook(root / "in.xlsx", ["id", "text"], *[[row["id"], escape(row["text"])] for row in ROWS])
    book = openpyxl.load_workbook(root / "in.xlsx")
    page = book.active
    assert page is not None
    cell = page["B5"]
    # As text, which a user's program writes; given plainly it would be a formula.
    cell.value, cell.data_type = "=1+1", "s"
    book.save(root / "in.xlsx")
    return {"path": "in.xlsx"}


MAKERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "csv": _csv, "files": _files, "json": _json, "jsonl": _jsonl, "parquet": _parquet, "run": _run, "sql": _sql,
    "text": _files, "xlsx": _xlsx,
}  # fmt: skip
TEXT_OF = {"files": "row.path", "run": "row.input.text"}
SETTINGS: dict[str, dict[str, Any]] = {
    "sql": {"path": "out/o.db", "table": "t"},
    "files": {"path": "out/files", "name": "key", "content": "[key, text]", "columns": None},
}


def _text(path: Path) -> str:
    return path.read_bytes().decode()


def _unescaped(text: str) -> str:
    return re.sub("_x([0-9A-F]{4})_", lambda match: chr(int(match[1], 16)), text)


def _written(root: Path, sink: str) -> list[tuple[Any, ...]]:
    out = root / "simulated" / "out"
    if sink == "csv":
        return [tuple(row) for row in csv.reader(io.StringIO(_text(out / "o.csv"), newline=""))][1:]
    if sink == "files":
        return [tuple(json.loads(_text(path))) for path in sorted((out / "files").iterdir())]
    if sink == "jsonl":
        return [tuple(json.loads(line).values()) for line in _text(out / "o.jsonl").split("\n")[:-1]]
    if sink == "parquet":
        return [(row["key"], row["text"]) for row in pq.read_table(out / "o.parquet").to_pylist()]
    if sink == "sql":
        engine = sa.create_engine(f"sqlite:///{out / 'o.db'}", poolclass=sa.pool.NullPool)
        with engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql("SELECT key, text FROM t ORDER BY rowid")]
    page = openpyxl.load_workbook(out / "o.xlsx").active
    assert page is not None
    return [tuple(_unescaped(str(cell.value)) for cell in row) for row in page.iter_rows()][1:]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A project in which the rows came from a source of some type and went to a sink of each type."""
    made: dict[str, Path] = {}

    def make(source: str) -> Path:
        if source not in made:
            made[source] = root = tmp_path_factory.mktemp(source)
            write_job(root)
            text = TEXT_OF.get(source, "row.text")
            columns = {"columns": {"key": "key", "text": text}}
            sinks = []
            for sink in SINKS:
                one: dict[str, Any] = {"type": sink, "path": f"out/o.{sink}", **columns, **SETTINGS.get(sink, {})}
                if sink == "files":
                    one["content"] = f"[key, {text}]"
                if sink == "csv":
                    one["formula_guard"] = False
                sinks.append({name: value for name, value in one.items() if value is not None})
            own = {"type": source, "key": "id", **MAKERS[source](root)}
            write_job(root, source=own, prompt={"user": "{{ row | tojson }}"}, sinks=sinks)
            assert run(load_spec(root / "job.yaml"), simulate=True).exit_code == 0
        return made[source]

    return make


@pytest.mark.parametrize("source", [name for name in SOURCES if name != "rows"])
@pytest.mark.parametrize("sink", SINKS)
def test_rows_pass_unchanged_from_every_source_to_every_sink(
    project: Callable[[str], Path], source: str, sink: str
) -> None:
    wanted = [(row["id"], f"in/{row['id']}" if source == "files" else row["text"]) for row in ROWS]
    assert _written(project(source), sink) == wanted
