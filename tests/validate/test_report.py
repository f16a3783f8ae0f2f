"""What `validate` reports beyond planted mistakes: rules that need rows, and findings as JSON."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from runner.cli.texts.excerpt import format_problem
from runner.lifecycle.validate.checks import FileReport, validate_file
from tests.support.processes import RUN_SIMULATED, command
from tests.support.projects import SPEC, write_job
from tests.support.simulator import environ_without_key

SOURCE = SPEC["source"]
OPEN_SCHEMA = {"type": "object", "properties": {"label": {"type": "string"}}, "required": ["label"]}


def report(root: Path, rows: str | None = None, **changes: Any) -> FileReport:
    path = write_job(root, **changes)
    if rows is not None:
        (root / "rows.csv").write_text(rows)
    return validate_file(path)


def test_few_rows_and_a_low_cap_are_reported_without_a_plan(tmp_path: Path) -> None:
    found = report(tmp_path, "id,text\n1,a\n2,b\n", limits={"max_cost": 0.000001})
    assert [one.rule for one in found.findings] == ["few-rows", "cap-below-estimate"]


SINK = {"type": "jsonl", "path": "a.jsonl", "columns": {"key": "key"}}


def test_rows_that_a_sink_cannot_write_are_reported(tmp_path: Path) -> None:
    rows = "id,text,net\n" + "".join(f"{number},a,1.2{number}5\n" for number in range(120))
    columns = {"key": "key", "net": "row.net"}
    sink = {"type": "xlsx", "path": "a.xlsx", "columns": columns, "types": {"net": "decimal(12,2)"}}
    found = report(tmp_path, rows, sinks=[SINK, sink]).errors
    assert [one.rule for one in found] == ["sink"] * 6
    assert [one.line for one in found if one.path == "rows.csv"] == [2, 3, 4, 5, 6]
    [whole] = [one for one in found if one.path != "rows.csv"]
    assert "column 'net' cannot be written for 100 rows (the first 5 are shown); a run would send" in whole.message
    assert "nothing; only the first 100 rows were looked at: read it with" in whole.message
    assert whole.remedy.startswith("read it with `types: {net: number}` in the source and round it")


def test_text_that_only_one_sink_cannot_hold_is_a_warning(tmp_path: Path) -> None:
    sink = {"type": "xlsx", "path": "a.xlsx", "columns": {"key": "key", "text": "row.text"}}
    found = report(tmp_path, f"id,text\n1,{'x' * 40_000}\n", sinks=[SINK, sink], allow=["few-rows"])
    assert [(one.rule, one.severity) for one in found.findings] == [("sink", "warning")] * 2
    assert not found.errors


def test_attached_file_is_named_without_a_line(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a.txt").write_bytes(b"Invoice\n" * 2000 + b"\xff")
    block = {"type": "document", "path": "{{ path }}"}
    source = {"type": "files", "path": "scans/*"}
    [found] = report(tmp_path, source=source, prompt={"user": [block]}, allow=["few-rows"]).findings
    assert (found.rule, found.path, found.line) == ("rejected", "scans/a.txt", 0)
    assert format_problem(found.problem, [tmp_path]).count("\n") == 0


def test_source_that_cannot_be_read_to_its_end_is_no_small_one(tmp_path: Path) -> None:
    source = {**SOURCE, "types": {"amount": "number"}}
    [found] = report(tmp_path, 'id,text,amount\n1,a,2\n2,a,"1,5"\n', source=source).findings
    assert (found.rule, found.line) == ("source", 3)
    assert found.message.startswith("cannot read amount as number: '1,5' is not a number: correct the cell, or")
    assert found.remedy.endswith("`row['amount'] | replace(',', '.') | float` then computes with a decimal comma")


def test_prompt_over_the_context_window_is_reported(tmp_path: Path) -> None:
    rows = "id,text\n" + "".join(f"{number},{'x' * (6_000_000 if number == 3 else 3)}\n" for number in range(9))
    assert [one.rule for one in report(tmp_path, rows).errors] == ["context-window"]


def test_keys_of_all_rows_of_a_small_source_are_checked(tmp_path: Path) -> None:
    rows = "id,text\n" + "".join(f"{number % 150},a\n" for number in range(170))
    found = report(tmp_path, rows).errors
    assert [one.line for one in found] == [152, 153, 154, 155, 156]
    assert found[-1].message.endswith("(and 15 more rows)")


@pytest.mark.parametrize(
    ("url", "query", "reason"),
    [
        ("sqlite:///t.db", "SELECT id, txet FROM t", "the query fails: no such column: txet"),
        ("sqlite:///t.db", "SELECT id FROM absent", "the query fails: no such table: absent"),
        ("sqlite:///absent.db", "SELECT 1", "the query fails: no such file"),
        ("postgresql://me:secret@127.0.0.1:1/x", "SELECT 1", "the query fails: connection failed"),
    ],
)
def test_error_of_a_source_database_has_its_place_in_the_spec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, query: str, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(sqlite3.connect("t.db")) as database:
        database.execute("CREATE TABLE t (id INTEGER, text TEXT)")
    source = {"type": "sql", "url": url, "query": query, "key": "id"}
    [found] = report(tmp_path, source=source, allow=["few-rows"]).errors
    shown = url.replace(":secret", "")
    assert (found.line, found.column > 1, found.path) == (1, True, str(tmp_path / "job.yaml"))
    assert found.message.startswith(f"source.url: {shown}: {reason}")


def test_other_delimiter_is_named_without_its_consequences(tmp_path: Path) -> None:
    sinks = [{"type": "csv", "path": "out.csv", "columns": {"text": "row.text"}}]
    [error] = report(tmp_path, "id;text\n1;a\n2;b\n", sinks=sinks).errors
    cause = "source.path: there is only the column 'id;text': if these are several, set `delimiter: \";\"` in the"
    assert error.message.startswith(cause)
    assert report(tmp_path, "id;text\n1;a\n2;b\n", source={**SOURCE, "delimiter": ";"}).errors == []
    assert [one.line for one in report(tmp_path, "id,text\n1,a\n1,b\n").errors] == [3]


def test_spec_is_not_suggested_as_a_source(tmp_path: Path) -> None:
    [error] = report(tmp_path, source={**SOURCE, "path": "job.csv"}).errors
    assert "did you mean 'rows.csv'?" in error.message


def test_open_schema_is_closed_when_it_is_sent(tmp_path: Path) -> None:
    assert [one.rule for one in report(tmp_path, output={"schema": OPEN_SCHEMA}).findings] == ["open-schema"]
    rendered = command(tmp_path, environ_without_key(), "render", "job.yaml", "--limit", "1")
    sent = json.loads(rendered.stdout)["params"]["output_config"]["format"]["schema"]
    assert sent == {**OPEN_SCHEMA, "additionalProperties": False}
    assert "`additionalProperties: false` is added to the top level when the schema is sent" in rendered.stderr


def test_open_model_is_closed_in_its_class(tmp_path: Path) -> None:
    (tmp_path / "labels.py").write_text("import pydantic\nclass Label(pydantic.BaseModel):\n    label: str\n")
    [found] = report(tmp_path, output={"schema": "labels:Label"}).findings
    assert 'add `model_config = ConfigDict(extra="forbid")` to each model, or' in found.message
    closed = 'import pydantic\nclass Tag(pydantic.BaseModel, extra="forbid"):\n    tag: str\n'
    (tmp_path / "tags.py").write_text(closed)
    assert report(tmp_path, output={"schema": "tags:Tag"}).findings == []


def test_findings_in_a_schema_file_name_its_lines(tmp_path: Path) -> None:
    label = {"type": "string", "minLenght": 3}
    (tmp_path / "label.json").write_text(json.dumps({**OPEN_SCHEMA, "properties": {"label": label}}, indent=1))
    found = report(tmp_path, output={"schema": "label.json"}).findings
    assert [(one.path, one.line, one.rule) for one in found] == [
        ("label.json", 1, "open-schema"),
        ("label.json", 6, "schema-keyword"),
    ]


def test_misspelled_row_subscript_is_found_without_a_row(tmp_path: Path) -> None:
    found = report(tmp_path, prompt={"user": "{{ row['txet'] }}"}).errors
    assert [one.message for one in found] == ["prompt.user: 'txet' is undefined: did you mean 'text'?"]


def test_run_reports_all_mistakes_of_a_spec_at_once(tmp_path: Path) -> None:
    write_job(tmp_path, retry={"attempt": 2}, prompt={"user": "{{ txet }}"})
    done = command(tmp_path, environ_without_key(), *RUN_SIMULATED)
    assert done.returncode == 2
    assert ["attempts" in done.stderr, "did you mean 'text'?" in done.stderr] == [True, True]


def test_paths_of_findings_can_be_opened_from_the_working_folder(tmp_path: Path) -> None:
    (tmp_path / "project" / "prompts").mkdir(parents=True)
    (tmp_path / "project" / "prompts" / "user.j2").write_text("{{ txet }}")
    write_job(tmp_path / "project", prompt={"user": "user.j2"})
    done = command(tmp_path, environ_without_key(), "validate", "project/job.yaml", "--json")
    assert json.loads(done.stdout)["file"] == "project/prompts/user.j2"


def test_doctor_prints_its_findings_as_json(tmp_path: Path) -> None:
    write_job(tmp_path)
    assert command(tmp_path, environ_without_key(), *RUN_SIMULATED).returncode == 0
    (tmp_path / "simulated" / "out" / "all.jsonl").unlink()
    done = command(tmp_path, environ_without_key(), "doctor", "--json")
    [found] = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, found["rule"], found["severity"], found["file"]) == (8, "state", "error", None)
    assert "all.jsonl is missing" in found["message"] and found["remedy"]


def test_broken_part_gives_no_further_findings(tmp_path: Path) -> None:
    params = {**SPEC["params"], "max_tokens": "many"}
    assert [one.message for one in report(tmp_path, params=params).findings] == [
        "params.max_tokens must be a whole number, not the text 'many'"
    ]


def test_columns_with_blanks_are_explained_in_expressions(tmp_path: Path) -> None:
    source = {"type": "csv", "path": "rows.csv", "where": "row.Order No > 3"}
    columns = {"a": "row.Order No", "b": "row.Order_No"}
    sinks = [{"type": "csv", "path": "out.csv", "columns": columns}]
    rows = "id,text,Order No\n" + "".join(f"{number},a,7\n" for number in range(9))
    found = report(tmp_path, rows, source=source, sinks=sinks).errors
    assert [one.remedy for one in found] == ["write row['Order No']"] * 3


def test_missing_attachment_is_answered_with_the_nearest_file(tmp_path: Path) -> None:
    (tmp_path / "cat.txt").write_text("meow")
    user = [{"type": "document", "path": "{{ text }}"}]
    rows = "id,text\n1,cta.txt\n" + "".join(f"{number},cat.txt\n" for number in range(2, 9))
    found = report(tmp_path, rows, prompt={"user": user})
    assert [one.message for one in found.findings] == [
        "row 1 cannot be sent: cta.txt cannot be read: No such file or directory: did you mean 'cat.txt'?"
    ]
