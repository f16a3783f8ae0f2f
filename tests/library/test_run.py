"""Rows that a Python program gives: what they can be, and what happens when they are given again."""

import datetime
import itertools
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from runner import InputError, Spec, Summary, UsageError, load_spec, plan, run
from tests.support.projects import SPEC, write_job
from tests.support.simulator import accepted

ROWS = [{"id": f"r{number}", "text": f"text number {number}"} for number in range(1, 21)]
MAKERS: dict[str, Callable[[list[dict[str, Any]]], Any]] = {
    "list": list,
    "iterator": iter,
    "generator": lambda rows: (row for row in rows),
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "arrow": pa.Table.from_pylist,
}


def keyed(root: Path, **changes: Any) -> Spec:
    own = {name: SPEC[name] for name in ("name", "prompt", "params", "output", "batch")}
    return load_spec({**own, "source": {"key": "id"}, **changes}, root=root)


@pytest.mark.parametrize("kind", MAKERS)
def test_rows_of_each_kind_are_run(tmp_path: Path, kind: str) -> None:
    result = run(keyed(tmp_path), rows=MAKERS[kind](ROWS), simulate=True)
    assert result.outcomes == {"succeeded": 20}
    assert [record["row"] for record in result] == ROWS


def test_a_path_or_a_mapping_is_run_as_its_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_job(tmp_path)
    assert plan(str(path), offline=True).rows == 20
    assert run(path, simulate=True).outcomes == {"succeeded": 20}
    monkeypatch.chdir(tmp_path)
    assert run("job.yaml", simulate=True, rows=ROWS[:3], new=True).outcomes == {"succeeded": 3}
    own = {name: SPEC[name] for name in ("name", "prompt", "params", "output", "batch")}
    assert run({**own, "source": {"key": "id"}}, rows=ROWS[:2], simulate=True, new=True).rows == 2
    with pytest.raises(InputError, match="cannot read the spec"):
        run("jib.yaml", simulate=True)


def test_rows_replace_those_of_a_file(tmp_path: Path) -> None:
    spec = load_spec(write_job(tmp_path))
    result = run(spec, rows=ROWS[:2], simulate=True)
    assert [record["key"] for record in result] == ["r1", "r2"]
    assert plan(spec, rows=ROWS[:3], offline=True).rows == 3


def test_values_of_programs_become_json(tmp_path: Path) -> None:
    day = datetime.date(2026, 3, 1)
    frame = pd.DataFrame({"id": [1, 2], "day": pd.to_datetime([day, None]), "n": [1.5, None], "odd": ["a", 7]})
    given: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"id": 1, "day": day, "cost": Decimal("1.50"), "at": datetime.datetime(2026, 3, 1, 9)}, {"cost": "1.50"}),
        ({"id": 1, "day": frame["day"][1], "n": frame["n"].to_numpy()[0]}, {"day": None, "n": 1.5}),
    ]
    for rows, expected in given:
        [record] = run(keyed(tmp_path, prompt={"user": "{{ id }}"}), rows=[rows], simulate=True, new=True)
        assert record["row"] == {**record["row"], **expected}
    records = list(run(keyed(tmp_path, prompt={"user": "{{ id }}"}), rows=frame, simulate=True, new=True))
    assert [record["row"]["odd"] for record in records] == ["a", 7]
    assert [record["row"]["n"] for record in records] == [1.5, None]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("text", "not a str"),
        ({"id": ["a"]}, "not a dict"),
        (7, "not a int"),
        ([("a", "b")], r"<rows>:1: row 1 must be a mapping, not a tuple"),
        ([ROWS[0], {"id": object(), "text": ""}], r"<rows>:2: id is a object"),
        ([{1: "a"}], "column 1 has no name in row 1"),
        ([], "the source has no rows"),
        ([ROWS[0], ROWS[0]], r"<rows>:2: duplicate key: id 'r1' is already used by <rows>:1"),
    ],
)
def test_rows_that_cannot_be_used_are_explained(tmp_path: Path, rows: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(keyed(tmp_path), rows=rows, simulate=True)


def test_rows_source_without_rows_says_how_to_give_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run\(load_spec\(path\), rows=\.\.\.\)"):
        run(keyed(tmp_path), simulate=True)


def test_endless_iterator_is_read_up_to_the_limit(tmp_path: Path) -> None:
    rows = ({"id": number, "text": "a"} for number in itertools.count())
    assert run(keyed(tmp_path), rows=rows, limit=150, simulate=True).rows == 150


@pytest.mark.parametrize("again", ["the same", "none"])
def test_unfinished_run_goes_on_with_the_same_rows_or_none(
    tmp_path: Path, run_given: Callable[..., Summary], again: str
) -> None:
    first = run_given(rows=iter(ROWS), wait=False)
    assert first.state == "running"
    last = run_given(rows=iter(ROWS) if again == "the same" else None)
    assert (last.run, last.outcomes) == (first.run, {"succeeded": 20})
    assert accepted(tmp_path / "api") == 3


def test_unfinished_run_refuses_other_rows(tmp_path: Path, run_given: Callable[..., Summary]) -> None:
    run_given(rows=ROWS, wait=False)
    other = [{**row, "text": f"other {row['id']}"} for row in ROWS]
    with pytest.raises(UsageError, match="the rows that were given: others"):
        run_given(rows=iter(other))
    assert run_given(rows=iter(other), new=True).outcomes == {"succeeded": 20}
    assert accepted(tmp_path / "api") == 6


def test_pending_run_is_finished_before_other_rows_are_sent(
    tmp_path: Path, run_given: Callable[..., Summary]
) -> None:
    first = run_given(rows=ROWS[:8], wait=False)
    last = run_given(rows=iter(ROWS), pending="finish")
    assert (last.rows, last.outcomes) == (20, {"succeeded": 20})
    assert last.run != first.run and accepted(tmp_path / "api") == 3


def test_finished_run_is_found_again_and_new_rows_are_sent(
    tmp_path: Path, run_given: Callable[..., Summary]
) -> None:
    first = run_given(rows=ROWS[:8])
    assert run_given(rows=iter(ROWS[:8])).run == first.run == run_given().run
    more = run_given(rows=ROWS[:10])
    assert more.run != first.run and accepted(tmp_path / "api") == 2


@pytest.fixture
def run_given(tmp_path: Path, run_job: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a spec without a file against the simulator of `run_job`, whose project it shares."""
    monkeypatch.chdir(tmp_path)
    spec = {name: SPEC[name] for name in ("name", "prompt", "params", "output", "batch")}

    def finish(**options: Any) -> Summary:
        return run_job(spec={**spec, "source": {"key": "id"}}, **options)

    return finish


def test_rows_are_read_once_and_not_held(tmp_path: Path) -> None:
    read = []

    def rows() -> Iterator[dict[str, Any]]:
        for number in range(1000):
            read.append(number)
            yield {"id": number, "text": "a"}

    run(keyed(tmp_path), rows=rows(), simulate=True)
    assert read == list(range(1000))
