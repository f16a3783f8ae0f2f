"""Rows that a sink cannot write are found before anything is sent."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow.parquet
import pytest

from runner import Summary
from runner.errors import InputError
from tests.support.projects import write_job
from tests.support.simulator import accepted

RunJob = Callable[..., Summary]
FILES = {"type": "files", "path": "out/f", "name": "key"}


def write_rows(root: Path, header: str, *lines: str, **changes: Any) -> None:
    write_job(root, prompt={"user": "{{ row | tojson }}"}, **changes)
    (root / "rows.csv").write_text("\n".join([header, *lines]) + "\n")


def refused(run_job: RunJob, root: Path) -> list[str]:
    """The lines of the error, after which nothing was sent and no run is left."""
    with pytest.raises(InputError) as caught:
        run_job()
    assert accepted(root / "api") == 0
    assert list((root / ".runner" / "runs").iterdir()) == []
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("keys", "line", "words"),
    [
        (["a", "a/b"], 3, "'a/b' needs a folder with the file name 'a' of row 'a' (rows.csv:2)"),
        (["a/b", "a"], 3, "the file name 'a' is also the folder of 'a/b' of row 'a/b' (rows.csv:2)"),
        (["a/b/c", "A"], 3, "the file name 'A' is also the folder of 'a/b/c' of row 'a/b/c' (rows.csv:2)"),
        (["a", "A"], 3, "'A' differs from 'a' of row 'a' (rows.csv:2) only in letter case or Unicode form"),
        (
            ["\u00e9", "e\u0301"],
            3,
            "differs from '\u00e9' of row '\u00e9' (rows.csv:2) only in letter case or Unicode",
        ),
        (["a", "./a"], 3, "the file name 'a' is already used by row 'a' (rows.csv:2)"),
        (["a", "\u00e4" * 128], 3, "is too long: a file name can have at most 255 bytes"),
        (["a", "x/" * 500], 3, "at most 255 bytes, and with its folders 900"),
        (["a", "nul"], 3, "the file name 'nul' is reserved on Windows"),
        (["a", "x/Com1.txt"], 3, "is reserved on Windows"),
        (["a", "b."], 3, "'b.' ends in a dot or a space, which Windows drops"),
        (["a", "b /c"], 3, "'b ' ends in a dot or a space, which Windows drops"),
        (["a", "."], 3, "'.' is not a path inside the folder"),
        (["a", "b/.."], 3, "'b/..' is not a path inside the folder"),
        (["a", "/etc/b"], 3, "'/etc/b' is not a path inside the folder"),
        (["a", "  "], 3, "'  ' is not a valid file name"),
        (["a", "b\\c"], 3, "contains '\\\\', which not every system allows"),
        (["a", "b\u0007"], 3, "contains '\\x07', which not every system allows"),
    ],
)
def test_bad_file_name_is_found_before_sending(
    tmp_path: Path, run_job: RunJob, keys: list[str], line: int, words: str
) -> None:
    write_rows(tmp_path, "id,text", *(f"{key},x" for key in keys), sinks=[FILES])
    first, last = refused(run_job, tmp_path)
    assert first.startswith(f"rows.csv:{line}: column 'name' of row {keys[-1]!r}: ")
    assert words in first
    assert "job.yaml" in last
    assert "column 'name' cannot be written for 1 row; nothing was sent" in last


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        (["a", "a/b"], "key ~ '.txt'"),
        (["nul", "b.", ".", "/etc/b"], "'row-' ~ key ~ '.txt'"),
        (["a" * 300], "key[:60]"),
        (["b\\c"], "key | replace('\\\\', '-')"),
    ],
)
def test_remedy_for_a_bad_file_name_works(tmp_path: Path, run_job: RunJob, keys: list[str], name: str) -> None:
    write_rows(tmp_path, "id,text", *(f"{key},x" for key in keys), sinks=[FILES])
    assert name in "\n".join(refused(run_job, tmp_path))
    write_rows(tmp_path, "id,text", *(f"{key},x" for key in keys), sinks=[{**FILES, "name": name}])
    assert run_job().exit_code == 0
    assert len([path for path in (tmp_path / "out" / "f").rglob("*") if path.is_file()]) == len(keys)


def test_file_name_from_an_output_loses_nothing(tmp_path: Path, run_job: RunJob) -> None:
    write_rows(tmp_path, "id,text", "a,x", "b,y", sinks=[{**FILES, "name": "'f-' ~ outcome"}])
    with pytest.raises(InputError) as caught:
        run_job()
    assert "cannot write the row 'b': the file name 'f-succeeded' is already used by an earlier row" in str(
        caught.value
    )
    assert not (tmp_path / "out" / "f").exists()
    sent = accepted(tmp_path / "api")
    write_rows(tmp_path, "id,text", "a,x", "b,y", sinks=[{**FILES, "name": "key ~ outcome"}])
    assert run_job().exit_code == 0
    assert sorted(path.name for path in (tmp_path / "out" / "f").iterdir()) == ["asucceeded", "bsucceeded"]
    assert accepted(tmp_path / "api") == sent


def test_existing_folder_in_the_place_of_a_file_is_named(tmp_path: Path, run_job: RunJob) -> None:
    write_rows(tmp_path, "id,text", "a,x", sinks=[FILES])
    (tmp_path / "out" / "f" / "a").mkdir(parents=True)
    with pytest.raises(InputError, match=r"row 'a': .*f/a is a folder, not a file: move it away"):
        run_job()
    (tmp_path / "out" / "f" / "a").rmdir()
    assert run_job().exit_code == 0


def typed_sink(**types: str) -> dict[str, Any]:
    columns = {"id": "key", **{name: f"row.{name}" for name in types}}
    return {"type": "parquet", "path": "out/t.parquet", "columns": columns, "types": types}


def test_cells_that_do_not_fit_are_counted_and_shown(tmp_path: Path, run_job: RunJob) -> None:
    lines = [f"r{number},{'' if number % 2 else 'x'},06/01/2026" for number in range(12)]
    sink = typed_sink(amount="decimal(12,2)", day="date")
    write_rows(tmp_path, "id,amount,day", "ok,1.5,2026-01-06", *lines, sinks=[sink])
    found = refused(run_job, tmp_path)
    assert len(found) == 12
    assert found[0] == "rows.csv:3: column 'amount' of row 'r0': 'x' is not a decimal number"
    assert found[1] == "rows.csv:4: column 'amount' of row 'r1': '' is not a decimal number"
    assert "column 'amount' cannot be written for 12 rows (the first 5 are shown); nothing was sent" in found[5]
    assert "'06/01/2026' is not a date such as 2026-01-31" in found[6]


def test_remedies_for_cells_that_do_not_fit_work(tmp_path: Path, run_job: RunJob) -> None:
    rows = ["id,amount,day", "r1,,06/01/2026", "r2,1.50,2026-01-06"]
    sink = typed_sink(amount="decimal(12,2)", day="date")
    write_rows(tmp_path, *rows, sinks=[sink])
    message = "\n".join(refused(run_job, tmp_path))
    amount = "none if row.amount | trim == '' else row.amount"
    assert f"set the column to `{amount}` to write empty cells as null" in message
    assert "set `types: {day: string}`" in message
    sink["columns"]["amount"], sink["types"]["day"] = amount, "string"
    write_rows(tmp_path, *rows, sinks=[sink])
    assert run_job().exit_code == 0
    table = pyarrow.parquet.read_table(tmp_path / "out" / "t.parquet").to_pydict()
    assert (list(map(str, table["amount"])), table["day"]) == (["None", "1.50"], ["06/01/2026", "2026-01-06"])


def amounts(root: Path, column: str, **types: str) -> None:
    sink = typed_sink(amount="decimal(12,2)")
    sink["columns"]["amount"] = column
    source = {"type": "csv", "path": "rows.csv", "key": "id", **({"types": types} if types else {})}
    write_rows(root, "id,amount", "r1,562.3604", sinks=[sink], source=source)


def test_number_with_too_many_decimals_is_to_be_rounded(tmp_path: Path, run_job: RunJob) -> None:
    amounts(tmp_path, "row.amount * 1.19", amount="number")
    first, whole = refused(run_job, tmp_path)
    assert first == "rows.csv:2: column 'amount' of row 'r1': 669.208876 has more than 2 decimal places"
    assert (
        "nothing was sent: round it in the column of the spec (`amount: (row.amount * 1.19) | round(2)`)" in whole
    )
    amounts(tmp_path, "(row.amount * 1.19) | round(2)", amount="number")
    assert run_job().exit_code == 0


def test_text_with_too_many_decimals_is_to_be_a_number(tmp_path: Path, run_job: RunJob) -> None:
    amounts(tmp_path, "row.amount")
    remedy = "read it with `types: {amount: number}` in the source and round it in the column of the spec"
    assert f"{remedy} (`amount: row.amount | round(2)`), or write it as text" in refused(run_job, tmp_path)[1]
    amounts(tmp_path, "row.amount | round(2)", amount="number")
    assert run_job().exit_code == 0


def test_failed_rows_alone_need_no_types(tmp_path: Path, run_job: RunJob) -> None:
    write_rows(tmp_path, "id,amount", "r1,", sinks=[{**typed_sink(amount="decimal(12,2)"), "rows": "failed"}])
    assert run_job().exit_code == 0


def test_expression_that_fails_for_a_row_is_found_before_sending(tmp_path: Path, run_job: RunJob) -> None:
    sink = {"type": "csv", "path": "out/a.csv", "columns": {"id": "key", "half": "10 // (row.n | int)"}}
    write_rows(tmp_path, "id,n", "r1,1", "r2,0", sinks=[sink])
    assert refused(run_job, tmp_path)[0].startswith("rows.csv:3: column 'half' of row 'r2': ")


def test_text_too_long_for_a_cell_is_found_before_sending(tmp_path: Path, run_job: RunJob) -> None:
    sink = {"type": "xlsx", "path": "out/a.xlsx", "columns": {"id": "key", "text": "row.text"}}
    rows = ["id,text", "r1,short", f"r2,{'x' * 40_000}"]
    write_rows(tmp_path, *rows, sinks=[sink])
    assert "a cell can hold at most 32,767 characters" in refused(run_job, tmp_path)[0]
    write_rows(tmp_path, *rows, sinks=[{**sink, "columns": {"id": "key", "text": "row.text[:32767]"}}])
    assert run_job().exit_code == 0
    sheet = openpyxl.load_workbook(tmp_path / "out" / "a.xlsx")["Sheet1"]
    assert len(sheet["B3"].value) == 32_767


def test_long_text_keeps_no_other_sink_from_delivery(tmp_path: Path, run_job: RunJob) -> None:
    sink = {"type": "xlsx", "path": "out/a.xlsx", "columns": {"id": "key", "text": "row.text"}}
    events = list[Any]()
    write_rows(tmp_path, "id,text", f"r1,{'x' * 40_000}", sinks=[sink, {"type": "jsonl", "path": "out/a.jsonl"}])
    with pytest.raises(InputError, match=r"cannot write the row 'r1': column 'text': .*set `overflow: cut`"):
        run_job(on_event=events.append)
    first, second = [event.message for event in events if event.name == "warning"]
    assert first.startswith("rows.csv:2: column 'text' of row 'r1': a cell can hold at most 32,767 characters")
    assert "cannot be written for 1 row; the other sinks are written: set `overflow: cut`" in second
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.jsonl"]


def test_text_that_is_cut_is_no_problem_of_the_rows(tmp_path: Path, run_job: RunJob) -> None:
    sink = {"type": "xlsx", "path": "out/a.xlsx", "overflow": "cut", "columns": {"id": "key", "text": "row.text"}}
    write_rows(tmp_path, "id,text", f"r1,{'x' * 40_000}", "r2,short", sinks=[sink])
    [output] = run_job().sinks
    assert output["cut"] == {"text": 1}
    sheet = openpyxl.load_workbook(tmp_path / "out" / "a.xlsx")["Sheet1"]
    assert [len(sheet[cell].value) for cell in ("B2", "B3")] == [32_767, 5]


@pytest.mark.parametrize(("rows", "words"), [(["r1,a", "r2,a"], "'a' is already used by row 'r1' (rows.csv:2)")])
def test_table_key_is_checked_before_sending(tmp_path: Path, run_job: RunJob, rows: list[str], words: str) -> None:
    sink = {
        "type": "sql",
        "path": "out/t.db",
        "table": "t",
        "key": "who",
        "columns": {"who": "row.who", "id": "key"},
    }
    write_rows(tmp_path, "id,who", *rows, sinks=[sink])
    assert words in refused(run_job, tmp_path)[0]
