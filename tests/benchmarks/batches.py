"""Measure the cost of a batch besides its rows: `python -m tests.benchmarks.batches [BATCHES ...]`.

Runs jobs whose batches have one row each, in a process of its own per job, and prints CPU milliseconds per batch.
A run of the same rows in a single batch is subtracted.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.show import measure

SPEC = """\
version: 1
name: small
source: {{type: csv, path: rows.csv}}
prompt: {{user: "{{{{ text }}}}"}}
params: {{model: claude-haiku-5-5, max_tokens: 100}}
batch: {{max_requests: {requests}, poll_seconds: 5}}
reuse: false
sinks: [{{type: jsonl, path: out/small.jsonl}}]
"""


def cpu_seconds(rows: int, requests: int, **variables: str) -> float:
    """CPU seconds of a run of `rows` rows, `requests` to a batch; `variables` are added to its environment."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "job.yaml").write_text(SPEC.format(requests=requests))
        (folder / "rows.csv").write_text("text\n" + "".join(f"text number {row}\n" for row in range(rows)))
        serve = [sys.executable, "-m", "runner", "simulate", "--seconds", "1"]
        environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        with subprocess.Popen(serve, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
            assert server.stdout is not None
            url = server.stdout.readline().decode().strip()
            variables |= {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "none"}
            used = measure(folder, ("run", "job.yaml", "--yes"), **variables)
            server.terminate()
        assert (folder / "out/small.jsonl").read_bytes().count(b"\n") == rows
    return used.ru_utime + used.ru_stime


def main(sizes: list[int]) -> None:
    for batches in sizes:
        many, one = cpu_seconds(batches, 1), cpu_seconds(batches, 100_000)
        print(f"{batches:6,} batches: {(many - one) / batches * 1000:6.1f} CPU ms each", flush=True)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [100, 1_000, 10_000])
