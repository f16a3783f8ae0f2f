"""Outputs as a folder of parts: bounded files in row order, and `_SUCCESS` once they are complete."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pandas
import polars
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from runner import Summary
from runner.errors import InputError
from runner.sinks.check import check_destination, check_sinks, prove_destination
from runner.sinks.destination import Destination, resolve_destination
from runner.sinks.open import open_sink
from runner.sinks.registry import SINKS
from runner.spec.spec import Spec
from tests.support.outputs import records
from tests.support.projects import write_job
from tests.support.sinks import outcome_record, spec_with

COLUMNS = {"n": {"type": "integer"}}
KINDS = pytest.mark.parametrize("kind", ["jsonl", "parquet"])


def write(place: Destination, kind: str, rows: int, *, rows_per_part: int = 4) -> None:
    with SINKS[kind].function(place, COLUMNS, parts=True, rows_per_part=rows_per_part) as take:
        for number in range(rows):
            take([number])


def write_half(place: Destination) -> None:
    """Begin to write other rows, and stop."""
    with (
        pytest.raises(KeyboardInterrupt),
        SINKS["jsonl"].function(place, COLUMNS, parts=True, rows_per_part=4) as take,
    ):
        for number in range(100, 106):
            take([number])
        raise KeyboardInterrupt


def names(folder: Path) -> list[str]:
    """The content of a folder."""
    return sorted(path.name for path in folder.iterdir())


def numbers(path: Path) -> list[int]:
    """The column of one part."""
    if path.suffix == ".jsonl":
        return [json.loads(line)["n"] for line in path.read_text().splitlines()]
    found: list[int] = pq.read_table(path)["n"].to_pylist()
    return found


def spec_of_parts(root: Path, kind: str = "jsonl", **sink: Any) -> Spec:
    return spec_with(root, {"type": kind, "path": "out/o", "parts": True, "columns": {"n": "key"}, **sink})


@KINDS
def test_parts_hold_the_rows_in_order(tmp_path: Path, kind: str) -> None:
    write(Destination(tmp_path / "o"), kind, 10)
    parts = [f"part-{number:05}.{kind}" for number in range(3)]
    assert names(tmp_path / "o") == ["_SUCCESS", *parts]
    assert [numbers(tmp_path / "o" / name) for name in parts] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert (tmp_path / "o/_SUCCESS").read_bytes() == b""
    assert names(tmp_path) == ["o"]


READERS: dict[str, dict[str, Callable[[Path], list[int]]]] = {
    "parquet": {
        "pyarrow": lambda at: pyarrow.dataset.dataset(at).to_table()["n"].to_pylist(),
        "pandas": lambda at: pandas.read_parquet(at)["n"].tolist(),
        "polars": lambda at: polars.read_parquet(at)["n"].to_list(),
    },
    "jsonl": {
        "pyarrow": lambda at: pyarrow.dataset.dataset(at, format="json").to_table()["n"].to_pylist(),
        "polars": lambda at: polars.read_ndjson(at)["n"].to_list(),
    },
}


@pytest.mark.parametrize(("kind", "reader"), [(kind, name) for kind, each in READERS.items() for name in each])
def test_a_folder_of_parts_is_one_dataset(tmp_path: Path, kind: str, reader: str) -> None:
    write(Destination(tmp_path / "o"), kind, 10)
    assert READERS[kind][reader](tmp_path / "o") == list(range(10))


@KINDS
def test_duckdb_reads_a_folder_of_parts(tmp_path: Path, kind: str) -> None:
    duckdb = pytest.importorskip("duckdb")
    write(Destination(tmp_path / "o"), kind, 10)
    found = duckdb.sql(f"SELECT n FROM '{tmp_path}/o/*.{kind}' ORDER BY n").fetchall()  # noqa: S608
    assert found == [(number,) for number in range(10)]


@KINDS
def test_nothing_of_a_longer_output_is_left(tmp_path: Path, kind: str) -> None:
    other = "parquet" if kind == "jsonl" else "jsonl"
    write(Destination(tmp_path / "o"), other, 20)
    write(Destination(tmp_path / "o"), kind, 5)
    assert names(tmp_path / "o") == ["_SUCCESS", f"part-00000.{kind}", f"part-00001.{kind}"]


@KINDS
def test_an_output_without_rows_has_one_part(tmp_path: Path, kind: str) -> None:
    write(Destination(tmp_path / "o"), kind, 0)
    assert names(tmp_path / "o") == ["_SUCCESS", f"part-00000.{kind}"]
    if kind == "parquet":
        assert pq.read_schema(tmp_path / "o/part-00000.parquet").names == ["n"]


def test_an_error_leaves_the_earlier_folder(tmp_path: Path) -> None:
    write(Destination(tmp_path / "o"), "jsonl", 10)
    before = {path.name: path.read_bytes() for path in (tmp_path / "o").iterdir()}
    write_half(Destination(tmp_path / "o"))
    assert {path.name: path.read_bytes() for path in (tmp_path / "o").iterdir()} == before
    assert names(tmp_path) == ["o"]


def test_what_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    for name in (".o.runner-tmp", ".o.runner-old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part-00007.jsonl").touch()
    write(Destination(tmp_path / "o"), "jsonl", 1)
    assert names(tmp_path) == ["o"]
    assert names(tmp_path / "o") == ["_SUCCESS", "part-00000.jsonl"]


def test_a_folder_that_a_kill_has_moved_away_comes_back(tmp_path: Path) -> None:
    write(Destination(tmp_path / "o"), "jsonl", 10)
    (tmp_path / "o").rename(tmp_path / ".o.runner-old")
    write_half(Destination(tmp_path / "o"))
    assert names(tmp_path) == ["o"]
    assert names(tmp_path / "o") == ["_SUCCESS", *(f"part-0000{number}.jsonl" for number in range(3))]


def test_a_folder_replaced_before_a_kill_is_deleted(tmp_path: Path) -> None:
    for name in ("o", ".o.runner-old"):
        write(Destination(tmp_path / name), "jsonl", 10)
    write(Destination(tmp_path / "o"), "jsonl", 10)
    assert names(tmp_path) == ["o"]


@KINDS
def test_a_folder_with_the_same_bytes_stays(tmp_path: Path, kind: str) -> None:
    write(Destination(tmp_path / "o"), kind, 10)
    before = (tmp_path / "o").stat().st_ino
    write(Destination(tmp_path / "o"), kind, 10)
    assert (tmp_path / "o").stat().st_ino == before
    write(Destination(tmp_path / "o"), kind, 9)
    assert (tmp_path / "o").stat().st_ino != before


def test_a_link_to_a_folder_of_parts_stays(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "o").symlink_to("real")
    write(Destination(tmp_path / "o"), "jsonl", 1)
    assert (tmp_path / "o").is_symlink() and names(tmp_path) == ["o", "real"]
    assert numbers(tmp_path / "real/part-00000.jsonl") == [0]


def test_a_file_of_others_is_never_deleted(tmp_path: Path) -> None:
    (tmp_path / "out/o").mkdir(parents=True)
    (tmp_path / "out/o/notes.txt").write_text("mine")
    spec, place = spec_of_parts(tmp_path), Destination(tmp_path / "out/o")
    problem = check_destination(spec, 0, place)
    assert problem is not None and "holds notes.txt, which is no part of an output" in problem.message
    with pytest.raises(InputError, match=r"holds notes\.txt"), open_sink(spec, 0, place, {}) as take:
        take(outcome_record())
    assert names(tmp_path / "out/o") == ["notes.txt"]


def test_a_file_in_the_place_of_the_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/o").touch()
    problem = check_destination(spec_of_parts(tmp_path), 0, Destination(tmp_path / "out/o"))
    assert problem is not None and "is a file, not a folder of parts" in problem.message


def test_rows_per_part_needs_parts(tmp_path: Path) -> None:
    [problem] = check_sinks(spec_with(tmp_path, {"path": "out/o", "rows_per_part": 1000}))
    assert problem.message == "`rows_per_part` has no effect without `parts: true`"


@KINDS
def test_parts_at_a_url_are_those_of_a_folder(tmp_path: Path, kind: str) -> None:
    spec = spec_of_parts(tmp_path, kind, path="memory:///parts/o/")
    place, memory = resolve_destination(spec.sinks[0], root=tmp_path, base=tmp_path), fsspec.filesystem("memory")
    assert check_destination(spec, 0, place) is None
    assert prove_destination(spec, 0, place) is None
    for rows in (20, 6):
        write(place, kind, rows)
        write(Destination(tmp_path / "o"), kind, rows)
    found = {Path(name).name: memory.cat(name) for name in memory.find("/parts/o")}
    assert found == {path.name: path.read_bytes() for path in (tmp_path / "o").iterdir()}
    memory.rm("/parts", recursive=True)


def test_objects_half_replaced_have_no_marker(tmp_path: Path) -> None:
    (tmp_path / "o").mkdir()
    place = Destination(url=f"file://{tmp_path}/o")
    write(place, "jsonl", 10)
    (tmp_path / "o/part-00001.jsonl").unlink()
    (tmp_path / "o/part-00001.jsonl").mkdir()
    with pytest.raises(OSError, match="directory"):
        write(place, "jsonl", 10)
    assert not (tmp_path / "o/_SUCCESS").exists()
    (tmp_path / "o/part-00001.jsonl").rmdir()
    write(place, "jsonl", 10)
    assert (tmp_path / "o/_SUCCESS").exists()


def test_an_object_of_others_is_found_before_sending(tmp_path: Path) -> None:
    (tmp_path / "o").mkdir()
    (tmp_path / "o/notes.txt").touch()
    spec = spec_of_parts(tmp_path, path=f"file://{tmp_path}/o")
    problem = prove_destination(spec, 0, Destination(url=f"file://{tmp_path}/o"))
    assert problem is not None and "holds notes.txt" in problem.message
    assert names(tmp_path / "o") == ["notes.txt"]


def test_a_value_that_does_not_fit_is_named_by_its_row(tmp_path: Path) -> None:
    columns = {"n": "row.a"}
    spec = spec_of_parts(tmp_path, "parquet", rows_per_part=1000, columns=columns, types={"n": "integer"})
    with (
        pytest.raises(InputError, match=r"the row 998: .* more than 64 bits"),
        open_sink(spec, 0, Destination(tmp_path / "o"), {}) as take,
    ):
        for key in range(1500):
            take(outcome_record(key=key, row={"a": 2**70 if key == 998 else key}))


def parts_job(root: Path, **sink: Any) -> None:
    """A job of 1,500 rows with a folder of two parts, and a manifest."""
    own = {"parts": True, "rows_per_part": 1000, **sink}
    write_job(
        root,
        rows=1500,
        batch={"poll_seconds": 0.1},
        sinks=[{"type": "jsonl", "path": "out/all", **own}],
        manifest="out/manifest.json",
    )


def test_a_source_reads_the_parts_of_another_spec(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    parts_job(tmp_path)
    assert run_job().exit_code == 0
    keys = [f"r{number}" for number in range(1, 1501)]
    (tmp_path / "job.yaml").rename(tmp_path / "first.yaml")
    sources = (
        {"type": "jsonl", "path": "out/all/part-*.jsonl", "key": "key"},
        {"type": "jsonl", "path": "out/all/*", "key": "key"},
        {"type": "run", "spec": "first.yaml", "key": "key"},
    )
    for number, source in enumerate(sources):
        sinks = [{"type": "jsonl", "path": f"out/{number}.jsonl", "columns": {"key": "key"}}]
        write_job(tmp_path, name=f"n{number}", source=source, prompt={"user": "{{ key }}"}, sinks=sinks)
        assert run_job().exit_code == 0
        assert [one["key"] for one in records(tmp_path / f"out/{number}.jsonl")] == keys


def test_a_partial_run_leaves_complete_parts(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    parts_job(tmp_path)
    assert run_job().exit_code == 0
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert list(manifest["sinks"][0]["parts"]) == ["part-00000.jsonl", "part-00001.jsonl"]
    partial = run_job(limit=3)
    assert Path(partial.sinks[0]["path"]).name == "all.partial"
    assert names(tmp_path / "out/all.partial") == ["_SUCCESS", "part-00000.jsonl"]
    assert names(tmp_path / "out/all") == ["_SUCCESS", "part-00000.jsonl", "part-00001.jsonl"]
