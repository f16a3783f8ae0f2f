"""A spec for own data: it validates, and its prompt holds the columns, whatever they are named."""

import csv
import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook

from runner import load_spec, run
from runner.errors import InputError, UsageError
from runner.lifecycle.plan.preview import render_requests
from runner.lifecycle.validate.checks import validate_spec
from runner.pricing.models import load_catalogue
from runner.starters.own_data import CHEAP_MODEL, write_starter
from tests.support.fuzzing import CELL_TEXTS, tries

TASK = "label each ticket as bug, billing or howto"
TICKETS = "Ticket No,Subject Line,body\n7,Hi,stops\n8,Hi,charged\n9,,how\n"


def make(root: Path, data: str, content: str | bytes | None = TICKETS, **options: Any) -> Any:
    """Write a data file and the spec for it; return what was written."""
    if content is not None:
        (root / data).write_bytes(content if isinstance(content, bytes) else content.encode())
    return write_starter(str(root / data), root, **{"task": TASK, **options})


def prompts(spec: Path) -> list[str]:
    """The user prompt of each row."""
    lines = [json.loads(line) for line in render_requests(load_spec(spec))]
    return [line["params"]["messages"][0]["content"] for line in lines]


def test_column_that_is_only_named_like_a_key_is_noted(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("Ticket Nr,Subject\nA-1,bill\nA-2,bug\n,blank\nA-2,twice\n")
    made = write_starter(str(tmp_path / "t.csv"), tmp_path, task="label as a or b", name="one")
    assert made.notes[1].startswith("`Ticket Nr` is named like a key, but has blank, long or repeated values")
    assert made.notes[0].startswith("the key is `Subject`, whose values differ in all 4 rows")
    (tmp_path / "t.csv").write_text("id,Ticket Nr,text\n1,A,bill\n2,A,bug\n")
    made = write_starter(str(tmp_path / "t.csv"), tmp_path, task="label as a or b", name="two")
    assert len(made.notes) == 1


def test_own_csv_becomes_a_spec_without_findings(tmp_path: Path) -> None:
    made = make(tmp_path, "tickets.csv")
    spec = load_spec(made.spec)
    assert validate_spec(spec).findings == []
    assert (spec.name, spec.source.key) == ("tickets", "Ticket No")
    assert spec.output.schema is not None
    assert spec.output.schema["properties"]["label"]["enum"] == ["bug", "billing", "howto"]
    assert prompts(made.spec)[0] == "Subject Line: Hi\nbody: stops"
    assert "the key is `Ticket No`" in made.notes[0]


@pytest.mark.parametrize(("key", "column"), [("id", "failed"), ("failed", "reason")])
def test_csv_of_a_new_spec_says_why_a_row_failed(tmp_path: Path, key: str, column: str) -> None:
    made = make(tmp_path, "t.csv", f"{key},body\n1,stops\n2,charged\n")
    text = made.spec.read_text()
    check = f"  checks:\n    - {{check: row.{key} == '1', message: refused}}\nsinks:\n"
    made.spec.write_text(text.replace("sinks:\n", check))
    run(load_spec(made.spec), simulate=True)
    with (tmp_path / "simulated/out/t.csv").open(newline="") as file:
        good, refused = csv.DictReader(file)
    assert good[column] == ""
    assert "refused" in refused[column]


def test_right_answers_are_not_in_the_prompt(tmp_path: Path) -> None:
    made = make(tmp_path, "tickets.csv", "id,body,gold,total_expected\n1,stops,bug,3\n2,charged,billing,4\n")
    assert prompts(made.spec) == ["body: stops", "body: charged"]
    assert any("`gold` is named like a right answer" in note for note in made.notes)


def test_task_without_alternatives_asks_for_text(tmp_path: Path) -> None:
    spec = load_spec(make(tmp_path, "a.csv", task="Summarise the ticket").spec)
    assert spec.output.schema is not None and spec.output.schema["properties"] == {"answer": {"type": "string"}}


@pytest.mark.parametrize("task", ["Summarise the ticket", "rate each as good, bad", "rate sentiment 1 to 5"])
def test_note_says_that_the_answer_is_any_text(tmp_path: Path, task: str) -> None:
    assert "the answer is any text" in make(tmp_path, "a.csv", task=task).notes[-1]
    assert "any text" not in "".join(make(tmp_path, "b.csv").notes)


def test_without_a_unique_column_there_is_no_key(tmp_path: Path) -> None:
    made = make(tmp_path, "a.csv", "id,text\n1,a\n1,a\n")
    assert load_spec(made.spec).source.key is None
    assert "no key" in made.notes[0]


def test_column_of_long_texts_is_no_key(tmp_path: Path) -> None:
    assert load_spec(make(tmp_path, "a.csv", f"text\n{'x' * 99}1\n{'x' * 99}2\n").spec).source.key is None


@pytest.mark.parametrize(
    ("name", "content", "settings"),
    [
        ("a.tsv", "id\tt\n1\tx\n", {"delimiter": "\t"}),
        ("a.csv", "id;t\n1;x, y\n", {"delimiter": ";"}),
        ("a.csv", "id,t\n1,größe\n".encode("cp1252"), {"encoding": "cp1252"}),
        ("a.csv", "id,t\n1,größe\n".encode("utf-16"), {"encoding": "utf-16"}),
    ],
)
def test_dialect_of_a_csv_file_is_found(tmp_path: Path, name: str, content: Any, settings: Any) -> None:
    made = make(tmp_path, name, content)
    assert load_spec(made.spec).source.options == {"path": name, **settings}
    assert len(prompts(made.spec)) == 1


@pytest.mark.parametrize(
    ("content", "columns", "prompt"),
    [
        ("id,,text\n1,x,a; b\n2,y,c; d\n", ("id", "text"), "text: a; b"),
        (",id,text\n0,1,a\n1,2,b\n", ("id", "text"), "text: a"),
        ("id,text,\n1,a,\n2,b,\n", ("id", "text"), "text: a"),
        ("\ufeffid,body,body,text\n1,x,y,a\n2,x,y,b\n", ("id", "text"), "text: a"),
        ("id;;text\n1;x;a, b\n2;y;c, d\n", ("id", "text"), "text: a, b"),
        ("sep=;\nid;;text\n1;x;a\n2;y;b\n", ("id", "text"), "text: a"),
    ],
)
def test_columns_with_blank_or_repeated_names_are_left_out(
    tmp_path: Path, content: str, columns: tuple[str, ...], prompt: str
) -> None:
    made = make(tmp_path, "a.csv", content)
    spec = load_spec(made.spec)
    assert (spec.source.columns, spec.source.key) == (columns, "id")
    assert validate_spec(spec).findings == []
    assert prompts(made.spec)[0] == prompt
    assert any("are not read: `source.columns` lists the others" in note for note in made.notes)


def test_header_whose_only_own_name_is_the_key_is_reported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two columns are named 'text' in the header: give each column a name"):
        make(tmp_path, "a.csv", "id,text,text\n1,a,b\n")


@pytest.mark.parametrize("content", ["id,text\n1,a,b\n2,c\n", "id,text\n1,a\n2,b,c\n3,d\n"])
def test_record_with_another_number_of_fields_is_reported(tmp_path: Path, content: str) -> None:
    with pytest.raises(InputError, match="the header has 2 fields, but this record has 3"):
        make(tmp_path, "a.csv", content)


def test_rows_without_a_field_or_with_null_have_an_empty_line(tmp_path: Path) -> None:
    rows = [{"id": 1, "a b": None, "tags": ["x"]}, {"id": 2, "a b": "c", "tags": [], "late": 3}]
    made = make(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows)))
    assert prompts(made.spec) == ['a b: \ntags: ["x"]\nlate: ', "a b: c\ntags: []\nlate: 3"]


def test_workbook_and_parquet_become_specs(tmp_path: Path) -> None:
    book = Workbook()
    sheet = book.create_sheet(index=0)
    sheet.append(["id", "Wildlife Species"])
    sheet.append([1, "fox"])
    book.save(tmp_path / "animals.xlsx")
    pyarrow.parquet.write_table(pyarrow.table({"id": [1], "Wildlife Species": ["fox"]}), tmp_path / "pq.parquet")
    for name in ("animals.xlsx", "pq.parquet"):
        assert prompts(make(tmp_path, name, None).spec) == ["Wildlife Species: fox"]


def test_task_is_text_and_no_template(tmp_path: Path) -> None:
    task = "Write {{ name }} {% if %} {# and ${env:HOME} as they are: #}"
    request = json.loads(next(render_requests(load_spec(make(tmp_path, "a.csv", task=task).spec))))
    assert request["params"]["system"].startswith(task)


def test_spec_in_a_project_names_paths_from_its_root(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "t.csv").write_text(TICKETS)
    made = write_starter(str(tmp_path / "t.csv"), tmp_path / "jobs", task=TASK)
    assert load_spec(made.spec).source.path == "t.csv"
    assert len(prompts(made.spec)) == 3


def test_data_outside_the_project_has_a_path_with_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "t.csv").write_text(TICKETS)
    monkeypatch.chdir(tmp_path / "job")
    made = write_starter("../t.csv", Path(), task=TASK)
    assert load_spec(made.spec).source.path == str(tmp_path / "t.csv")
    assert f"../t.csv is outside the project folder {tmp_path / 'job'}" in made.notes[-1]
    given = write_starter(str(tmp_path / "t.csv"), Path(), task=TASK, name="other")
    assert "outside" not in "".join(given.notes)


def test_spec_that_exists_is_never_overwritten(tmp_path: Path) -> None:
    make(tmp_path, "t.csv")
    with pytest.raises(UsageError, match=r"already there.*--name"):
        make(tmp_path, "t.csv")
    with pytest.raises(UsageError, match="starting with a letter"):
        make(tmp_path, "t.csv", name="Other Spec")
    assert make(tmp_path, "t.csv", name="other").spec.name == "other.yaml"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("tikets.csv", "No such file.*did you mean 'tickets.csv'"),
        ("scan.pdf", "runner init documents"),
        ("*.pdf", "runner init documents"),
        ("scans/*", "cannot tell its type by its name, .* for PDFs and images use `runner init documents`"),
        ("none/*", "cannot tell its type by its name, which has no suffix: known are"),
        ("notes.doc", "cannot tell its type"),
        ("notes", "its name, which has no suffix: known are"),
        ("empty.csv", "the file is empty"),
    ],
)
def test_data_that_cannot_be_read_is_explained(tmp_path: Path, data: str, message: str) -> None:
    (tmp_path / "tickets.csv").write_text(TICKETS)
    (tmp_path / "empty.csv").touch()
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "A.PDF").touch()
    with pytest.raises(InputError, match=message):
        make(tmp_path, data, None)
    assert not list(tmp_path.glob("*.yaml"))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("a.pdf", "b.pdf"), "it is a folder without data files: `runner init documents`"),
        ((), "it is a folder without data files: `runner init documents`"),
        (
            ("a.txt", "b.csv", "c.JSONL.gz", "d.JSONL.gz"),
            r"it is a folder: name the files in it.*docs/\*.JSONL.gz'",
        ),
    ],
)
def test_folder_in_place_of_a_data_file_is_explained(tmp_path: Path, files: tuple[str, ...], message: str) -> None:
    (tmp_path / "docs").mkdir()
    for name in files:
        (tmp_path / "docs" / name).write_text(TICKETS)
    with pytest.raises(InputError, match=message):
        make(tmp_path, "docs", None)


def test_model_of_new_specs_is_the_cheapest_current_one() -> None:
    prices = {one.id: one.price.input for one in load_catalogue().models if one.price}
    assert prices[CHEAP_MODEL] == min(prices.values())
    assert not any(one.deprecated or one.retires for one in load_catalogue().models if one.id == CHEAP_MODEL)


@tries(60)
@given(
    header=st.lists(CELL_TEXTS.filter(str.strip) | st.sampled_from(["row", "self", "in", "range", "label", "_x"]),
                    min_size=1, max_size=4, unique=True),
    task=CELL_TEXTS,
)  # fmt: skip
def test_any_header_and_task_become_a_valid_spec(header: list[str], task: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        with (root / "t.csv").open("w", newline="") as file:
            csv.writer(file).writerows([header, ["value"] * len(header)])
        made = make(root, "t.csv", None, task=task)
        validate_spec(load_spec(made.spec))
        [text] = prompts(made.spec)
        assert text.count("value") >= len(header) - 1
