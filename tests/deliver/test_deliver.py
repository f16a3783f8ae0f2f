"""Every row is delivered once, in input order."""

from collections.abc import Callable
from pathlib import Path

from runner import Summary, load_spec, run
from tests.support.outputs import records
from tests.support.projects import write_job


def test_every_row_is_delivered_once_in_input_order(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    summary = run_job()
    found = records(tmp_path / "out" / "all.jsonl")
    assert [record["key"] for record in found] == [f"r{n}" for n in range(1, 21)]
    assert list(found[0]) == [
        "key", "row", "outcome", "output", "error", "usage", "stop_reason", "model", "custom_id", "batch_id"
    ]  # fmt: skip
    assert (found[0]["row"], summary.outcomes) == ({"id": "r1", "text": "text number 1"}, {"succeeded": 20})
    assert (summary.state, summary.exit_code) == ("finished", 0)


def test_simulated_state_and_outputs_stay_apart(tmp_path: Path) -> None:
    write_job(tmp_path, sinks=[{"type": "jsonl", "path": str(tmp_path / "elsewhere" / "x.jsonl")}])
    summary = run(load_spec(tmp_path / "job.yaml"), simulate=True)
    assert not (tmp_path / ".runner").exists()
    assert not (tmp_path / "elsewhere").exists()
    assert Path(summary.sinks[0]["path"]).is_relative_to(tmp_path / "simulated")


def test_column_of_a_missing_output_is_empty(tmp_path: Path, run_job: Callable[..., Summary]) -> None:
    columns = {"id": "key", "double": "output.score * 2"}
    write_job(tmp_path, sinks=[{"type": "jsonl", "path": "out/x.jsonl", "columns": columns}])
    run_job(mix=lambda id: "refused" if id.endswith("-1") else "succeeded", seconds=0)
    found = records(tmp_path / "out" / "x.jsonl")
    assert found[0] == {"id": "r1", "double": None}
    assert isinstance(found[1]["double"], int)
