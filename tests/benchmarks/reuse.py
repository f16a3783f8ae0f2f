"""Measure the time to know which requests already have answers: `python -m tests.benchmarks.reuse [ROWS]`.

Plans the same job three times in one process and prints CPU microseconds per row: without reuse, with reuse when
nothing is answered yet, and when everything is. No model is asked; the answers are the simulator's.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from runner import load_spec, plan, run
from tests.benchmarks.compare import SPEC, write_rows


def microseconds(work: Callable[[], Any], rows: int) -> float:
    """CPU time of a piece of work, per row."""
    began = time.process_time()
    work()
    return (time.process_time() - began) / rows * 1e6


def main(rows: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder / "rows.csv", rows)
        path = folder / "spec.yaml"
        path.write_text(SPEC.replace("output: {schema: schema.json}\n", ""))
        reusing = load_spec(path)
        path.write_text(path.read_text() + "reuse: false\n")
        sending = load_spec(path)
        plan(sending, offline=True, limit=1000)
        without = microseconds(lambda: plan(sending, offline=True, simulate=True), rows)
        first = microseconds(lambda: plan(reusing, offline=True, simulate=True), rows)
        assert run(reusing, simulate=True).outcomes == {"succeeded": rows}
        found = plan(reusing, offline=True, simulate=True)
        assert (found.new, found.reused) == (0, rows)
        again = microseconds(lambda: plan(reusing, offline=True, simulate=True), rows)
    print(f"{rows:,} rows, CPU µs per row to plan them")
    print(f"  {without:6.1f}  without reuse")
    print(f"  {first:6.1f}  with reuse, nothing answered yet ({first - without:+.1f})")
    print(f"  {again:6.1f}  with reuse, everything answered ({again - without:+.1f}, though no body is written)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
