"""Specs run after the specs that they read from."""

from pathlib import Path

from runner import load_spec
from runner.runs.spec_order import sort_by_dependency
from tests.support.outputs import output_keys, records
from tests.support.processes import command
from tests.support.projects import RUN_CHAIN, write_chain
from tests.support.simulator import paid, simulator


def test_specs_run_in_source_order(tmp_path: Path) -> None:
    write_chain(tmp_path)
    with simulator(tmp_path / "api") as environ:
        ended = command(tmp_path, environ, *RUN_CHAIN)
        assert (ended.returncode, command(tmp_path, environ, "doctor").returncode) == (0, 0), ended.stderr
    assert output_keys(tmp_path, "third") == output_keys(tmp_path, "second") == [f"r{n}" for n in range(1, 21)]
    first, third = records(tmp_path / "out/second.jsonl")[4], records(tmp_path / "out/third.jsonl")[4]
    assert (first["row"]["input"]["text"], third["row"]["input"]["input"]["text"]) == ("text number 5",) * 2
    assert sum(paid(tmp_path / "api").values()) == 60


def test_specs_that_do_not_read_each_other_keep_their_order(tmp_path: Path) -> None:
    write_chain(tmp_path)
    loaded = [load_spec(tmp_path / f"{name}.yaml") for name in ("third", "first")]
    assert [spec.name for spec in sort_by_dependency(loaded)] == ["third", "first"]
