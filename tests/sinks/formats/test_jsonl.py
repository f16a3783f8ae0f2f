"""JSONL sinks: one full object per row."""

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from runner.sinks.destination import Destination
from runner.sinks.registry import SINKS
from runner.templates.expressions import RECORD_FIELDS
from tests.support.fuzzing import CELL_VALUES
from tests.support.sinks import outcome_record, written_bytes


def test_jsonl_has_one_full_object_per_row(tmp_path: Path) -> None:
    rows = [
        outcome_record(output={"t": "é\u2028\n"}),
        outcome_record("invalid", key="k2", output=[1, {"n": 10**30}]),
    ]
    data = written_bytes(tmp_path, rows)
    assert [json.loads(line) for line in data.split(b"\n")[:-1]] == rows
    assert list(json.loads(data.split(b"\n")[0])) == list(RECORD_FIELDS)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["a", "b"]), CELL_VALUES), max_size=5))
def test_jsonl_reads_back_as_it_was_written(values: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plain"
        with SINKS["jsonl"].function(Destination(path), ["v", "n"]) as write:
            for number, value in enumerate(values):
                write([value, number])
        lines = path.read_bytes().split(b"\n")[:-1]
    assert [json.loads(line) for line in lines] == [{"v": value, "n": n} for n, value in enumerate(values)]
