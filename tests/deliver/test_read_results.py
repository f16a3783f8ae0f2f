"""Lines of one results file, sorted into what they say about its rows."""

import json
from pathlib import Path

from runner.lifecycle.deliver.read_results import Rules, read_results
from runner.results.output_format import OutputFormat
from tests.support.outputs import error_line, message_line


def test_answer_after_a_lost_one_is_not_lost(tmp_path: Path) -> None:
    # A process that was suspended writes its answer after another one has taken over, and given it up.
    path = tmp_path / "results.jsonl"
    lost, answer = json.loads(error_line("no_answer")), json.loads(message_line("hi"))
    lines = [
        {**lost, "custom_id": "r-1-1-1"},
        {**lost, "custom_id": "r-1-1-2"},
        {**answer, "custom_id": "r-1-1-1"},
    ]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    found = read_results(path, Rules("r-1-1-"), OutputFormat(), expected={1, 2})
    assert ({row: outcome for row, (outcome, *_) in found.rows.items()}) == {1: "succeeded", 2: "errored"}
    assert (found.lost_rows, found.answered_rows) == ({2}, {1})
