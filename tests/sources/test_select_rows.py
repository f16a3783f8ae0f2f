"""Rows selected by columns, types, expressions, samples, and limits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner import Summary
from runner.errors import InputError
from runner.sources.input_files import Inputs
from runner.sources.read import read_rows
from runner.spec.spec import Source
from tests.support.projects import SPEC, write_job
from tests.support.simulator import accepted, paid


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
        ("date", "25.11.2026", "cannot read id as date: '25.11.2026' is not a date such as 2026-01-31"),
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
    tmp_path: Path, run_job: Callable[..., Summary], where: str, message: str
) -> None:
    write_job(tmp_path, source={**SPEC["source"], "where": where})
    with pytest.raises(InputError, match=message):
        run_job()
    assert accepted(tmp_path / "api") == 0


def test_an_absent_field_of_a_json_object_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"a": 2, "b": 5}\n')
    source = Source("jsonl", None, {"path": "a.jsonl"}, where="b == 5")
    assert [row.fields for row in read_rows(source, Inputs(tmp_path))] == [{"a": 2, "b": 5}]


def test_run_of_selected_rows_resumes_without_resending(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    source = {**SPEC["source"], "where": "id != 'r1'", "sample": 12, "limit": 9}
    write_job(tmp_path, source=source)
    assert run_job(wait=False).rows == 9
    first = run_job()
    assert (first.outcomes, run_job().run) == ({"succeeded": 9}, first.run)
    write_job(tmp_path, source={**source, "limit": 10})
    assert (run_job().rows, sum(paid(tmp_path / "api").values())) == (10, 10)


@pytest.mark.parametrize("name", ["columns", "types"])
def test_field_missing_from_every_row_is_reported(tmp_path: Path, name: str) -> None:
    (tmp_path / "t.jsonl").write_text('{"id": 1}\n{"id": 2}\n')
    choice: Any = {"columns": ("id", "idd")} if name == "columns" else {"types": {"idd": "integer"}}
    with pytest.raises(InputError, match="no row has the field 'idd'"):
        list(read_rows(Source("jsonl", None, {"path": "t.jsonl"}, **choice), Inputs(tmp_path)))
