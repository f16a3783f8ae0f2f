"""Citations that a request asks for arrive in every kind of output."""

import csv
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow.parquet as pq
import pytest

from runner import Summary, load_spec, run
from runner.errors import InputError
from tests.support.outputs import records
from tests.support.projects import SPEC, write_job
from tests.support.simulator import accepted

CITING = {"user": [{"type": "document", "text": "{{ text }}", "citations": True, "title": "{{ id }}"}, "Sum up."]}
SEARCH = {**SPEC["params"], "tools": [{"type": "web_search_20260209", "name": "web_search"}]}
SINKS: list[dict[str, Any]] = [
    {"type": "jsonl", "path": "out/all.jsonl"},
    {"type": "csv", "path": "out/all.csv"},
    {"type": "parquet", "path": "out/all.parquet"},
    {"type": "xlsx", "path": "out/all.xlsx"},
    {"type": "sql", "path": "out/all.db", "table": "t"},
]
FIRST = {
    "type": "char_location",
    "cited_text": "text number 1",
    "document_index": 0,
    "document_title": "r1",
    "file_id": None,
    "start_char_index": 0,
    "end_char_index": 13,
}
RunJob = Callable[..., Summary]


def write_citing(root: Path, **changes: Any) -> Path:
    """A job of two rows that asks for citations."""
    user = [part if isinstance(part, dict) else {"type": "text", "text": part} for part in CITING["user"]]
    given = {
        "rows": 2,
        "prompt": {"user": user},
        "output": {"allow_empty": True},
        "sinks": SINKS,
        "reuse": True,
        **changes,
    }
    return write_job(root, **given)


def cited(root: Path, name: str = "all") -> list[list[str]]:
    """The texts that the answers of each row cite."""
    return [[part["cited_text"] for part in one["citations"]] for one in records(root / f"out/{name}.jsonl")]


CITED = [["text number 1"], ["text number 2"]]


def test_citations_are_in_the_output_of_every_type(tmp_path: Path, run_job: RunJob) -> None:
    write_citing(tmp_path)
    assert run_job().exit_code == 0
    answers = records(tmp_path / "out/all.jsonl")
    found = [one["citations"] for one in answers]
    assert found[0] == [{"text": found[0][0]["text"], **FIRST}]
    assert answers[0]["output"].endswith(found[0][0]["text"])
    assert found[0][0]["text"] in records(tmp_path / "out/all.jsonl")[0]["output"]
    cells = [row["citations"] for row in csv.DictReader((tmp_path / "out/all.csv").read_text().splitlines())]
    assert [json.loads(cell) for cell in cells] == found
    column = pq.read_table(tmp_path / "out/all.parquet").column("citations").to_pylist()
    assert [json.loads(cell) for cell in column] == found
    sheet = list(openpyxl.load_workbook(tmp_path / "out/all.xlsx").worksheets[0].values)
    assert [json.loads(str(row[sheet[0].index("citations")])) for row in sheet[1:]] == found
    with closing(sqlite3.connect(tmp_path / "out/all.db")) as connection:
        stored = connection.execute("SELECT citations FROM t ORDER BY key").fetchall()
    assert [json.loads(cell) for (cell,) in stored] == found


def test_columns_are_computed_from_citations(tmp_path: Path, run_job: RunJob) -> None:
    columns = {
        "all": "citations",
        "quotes": "citations | map(attribute='cited_text') | join('; ')",
        "at": "citations[0].start_char_index",
        "count": "citations | length",
    }
    places = [{"type": "csv", "path": "out/all.csv"}, {"type": "parquet", "path": "out/all.parquet"}]
    sinks = [{**one, "columns": columns} for one in places]
    sinks[1]["types"] = {"at": "integer", "count": "integer"}
    write_citing(tmp_path, sinks=sinks)
    run_job(mix=lambda id: "expired" if id.endswith("-2") else "succeeded")
    cells = list(csv.DictReader((tmp_path / "out/all.csv").read_text().splitlines()))
    assert [(one["quotes"], one["at"], one["count"]) for one in cells] == [
        ("text number 1", "0", "1"),
        ("", "", "0"),
    ]
    table = pq.read_table(tmp_path / "out/all.parquet").to_pylist()
    assert [(one["at"], one["count"]) for one in table] == [(0, 1), (None, 0)]
    assert [one["all"] for one in table] == [one["all"] for one in cells]


def test_check_of_citations_decides_the_outcome(tmp_path: Path, run_job: RunJob) -> None:
    checks = [{"check": "citations[0].document_title == 'r1'", "message": "cites another"}]
    write_citing(tmp_path, output={"checks": checks}, retry={"attempts": 1})
    assert run_job().outcomes == {"succeeded": 1, "invalid": 1}
    assert cited(tmp_path) == CITED


def test_reused_answers_keep_their_citations(tmp_path: Path, run_job: RunJob) -> None:
    write_citing(tmp_path)
    run_job()
    write_citing(tmp_path, name="other", sinks=[{"type": "jsonl", "path": "out/again.jsonl"}])
    run_job()
    assert (cited(tmp_path, "again"), accepted(tmp_path / "api")) == (CITED, 1)


def test_synchronous_answers_keep_their_citations(tmp_path: Path, run_job: RunJob) -> None:
    write_citing(tmp_path, mode="sync")
    run_job()
    assert cited(tmp_path) == CITED


def test_web_search_citations_are_kept(tmp_path: Path, run_job: RunJob) -> None:
    write_citing(tmp_path, prompt={"user": "{{ text }}"}, params=SEARCH)
    run_job()
    found = records(tmp_path / "out/all.jsonl")[0]["citations"]
    assert [one["type"] for one in found] == ["web_search_result_location"]


def test_record_of_a_spec_without_citations_is_unchanged(tmp_path: Path, run_job: RunJob) -> None:
    write_citing(tmp_path, prompt={"user": "{{ text }}"})
    run_job()
    assert list(records(tmp_path / "out/all.jsonl")[0])[-1] == "batch_id"
    assert (tmp_path / "out/all.csv").read_text().splitlines()[0].endswith("custom_id,batch_id")


def test_chained_spec_reads_citations(tmp_path: Path) -> None:
    write_citing(tmp_path, name="first", sinks=SINKS[:1]).rename(tmp_path / "first.yaml")
    write_citing(
        tmp_path,
        name="second",
        source={"type": "run", "spec": "first.yaml", "key": "key", "where": "citations | length > 0"},
        prompt={"user": "Is it so? {% for one in citations %}{{ one.cited_text }}{% endfor %}"},
        sinks=[{"type": "jsonl", "path": "out/second.jsonl"}],
    )
    run(load_spec(tmp_path / "first.yaml"), simulate=True)
    run(load_spec(tmp_path / "job.yaml"), simulate=True)
    found = records(tmp_path / "simulated/out/second.jsonl")
    assert [one["row"]["citations"][0]["cited_text"] for one in found] == ["text number 1", "text number 2"]


def test_table_without_the_column_is_found_before_sending(tmp_path: Path, run_job: RunJob) -> None:
    write_citing(tmp_path, prompt={"user": "{{ text }}"}, sinks=SINKS[-1:])
    run_job()
    write_citing(tmp_path, sinks=SINKS[-1:])
    with pytest.raises(InputError, match="citations"):
        run_job()
    assert accepted(tmp_path / "api") == 1
