"""Measure how the cost of a job grows with its rows: `python -m tests.benchmarks.rows [ROWS ...]`.

Runs a job of short prompts against the simulator, then plans it again with every answer reused, and writes its
outputs again. Prints CPU microseconds per row and peak memory of each, and the disk that the state takes.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.show import measure

SPEC = """\
version: 1
name: short
source: {type: csv, path: rows.csv, key: id}
prompt: {user: "Is this positive? {{ text }}"}
params: {model: claude-haiku-5-5, max_tokens: 100}
batch: {poll_seconds: 5}
sinks: [{type: jsonl, path: out/short.jsonl, columns: {id: key, answer: output}}]
"""
COMMANDS = (
    ("run", "job.yaml", "--yes"),
    ("run", "job.yaml", "--yes"),
    ("plan", "job.yaml", "--offline"),
)
LABELS = ("run", "run again: only the outputs", "plan: every answer reused")


def stored_bytes(folder: Path) -> dict[str, int]:
    """The bytes of each part of the state."""
    [run] = (folder / ".runner/runs").iterdir()
    parts = {
        "rows": run / "rows.jsonl",
        "bodies": run / "bodies",
        "results": run / "results",
        "index files": run / "index",
        "state.db": folder / ".runner/state.db",
        "answers.db": folder / ".runner/answers.db",
    }
    return {name: _size(path) for name, path in parts.items()}


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else sum(map(_size, path.iterdir()))


def measure_job(rows: int) -> None:
    """Print the figures of one job."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "job.yaml").write_text(SPEC)
        with (folder / "rows.csv").open("w") as file:
            file.write("id,text\n")
            file.writelines(f"r{row},{row} of the people who tried it would buy it again\n" for row in range(rows))
        serve = [sys.executable, "-m", "runner", "simulate", "--seconds", "1"]
        environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        with subprocess.Popen(serve, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
            assert server.stdout is not None
            url = server.stdout.readline().decode().strip()
            for label, words in zip(LABELS, COMMANDS, strict=True):
                used = measure(folder, words, ANTHROPIC_BASE_URL=url, ANTHROPIC_API_KEY="none")
                micros, peak = (used.ru_utime + used.ru_stime) / rows * 1e6, used.ru_maxrss / 1024
                print(f"{rows:10,} rows: {micros:6.1f} CPU µs each, {peak:4.0f} MB  {label}", flush=True)
            server.terminate()
        assert (folder / "out/short.jsonl").read_bytes().count(b"\n") == rows
        source, found = _size(folder / "rows.csv"), stored_bytes(folder)
    parts = ", ".join(f"{part} {size / source:.1f}" for part, size in found.items())
    print(f"{rows:10,} rows: on disk, in sizes of the source: {parts}", flush=True)


if __name__ == "__main__":
    for rows in [int(word) for word in sys.argv[1:]] or [100_000, 1_000_000]:
        measure_job(rows)
