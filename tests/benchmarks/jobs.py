"""Measure what `--jobs` leaves to the command itself: `python -m tests.benchmarks.jobs [ROWS [JOBS ...]]`.

Runs the same job with one process and with several, and writes its outputs again. Prints the CPU microseconds per
row of the command and of its processes: with enough processors, those of the command are what time depends on.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

SPEC = """\
version: 1
name: short
source: {type: csv, path: rows.csv, key: id}
prompt: {user: "Is this positive? {{ text }}"}
params: {model: claude-haiku-5-5, max_tokens: 100}
batch: {poll_seconds: 5}
sinks:
  - {type: jsonl, path: out/short.jsonl, columns: {id: key, answer: output}}
  - {type: csv, path: out/short.csv}
"""
SCRIPT = """\
import resource, sys
from runner import run
if __name__ == "__main__":
    run("job.yaml", consent=True, jobs=int(sys.argv[1]))
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        used = resource.getrusage(who)
        print(used.ru_utime + used.ru_stime)
"""


def measure_jobs(rows: int, jobs: int) -> None:
    """Print the figures of one job, run by so many processes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "job.yaml").write_text(SPEC)
        (folder / "measure.py").write_text(SCRIPT)
        with (folder / "rows.csv").open("w") as file:
            file.write("id,text\n")
            file.writelines(f"r{row},{row} of the people who tried it would buy it again\n" for row in range(rows))
        environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        serve = [sys.executable, "-m", "runner", "simulate", "--seconds", "1"]
        with subprocess.Popen(serve, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
            assert server.stdout is not None
            environ |= {
                "ANTHROPIC_BASE_URL": server.stdout.readline().decode().strip(),
                "ANTHROPIC_API_KEY": "none",
            }
            for label in ("run", "run again: only the outputs"):
                words = [sys.executable, "measure.py", str(jobs)]
                done = subprocess.run(words, cwd=folder, env=environ, stdout=subprocess.PIPE, check=True)
                own, others = (float(line) / rows * 1e6 for line in done.stdout.split())
                print(f"{jobs:2} jobs: {own:5.1f} CPU µs a row here, {others:5.1f} elsewhere  {label}", flush=True)
            server.terminate()
        assert (folder / "out/short.jsonl").read_bytes().count(b"\n") == rows


if __name__ == "__main__":
    rows, *numbers = [int(word) for word in sys.argv[1:]] or [300_000]
    for jobs in numbers or [1, 4]:
        measure_jobs(rows, jobs)
