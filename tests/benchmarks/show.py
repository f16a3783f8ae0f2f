"""Measure `show`, `status` and `diff` of big runs: `python -m tests.benchmarks.show [ROWS]`.

Every second row of a simulated run fails a check. A second run has another prompt, and a third one has its rows in
the opposite order. Prints CPU seconds and the peak memory of each command.
"""

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

SPEC = """\
version: 1
name: big
source: {type: csv, path: rows.csv, key: id}
prompt: {user: "{{ text }}"}
params: {model: claude-haiku-5-5, max_tokens: 100}
output:
  schema: {type: object, properties: {label: {enum: [good, bad]}}, required: [label], additionalProperties: false}
  checks: [{check: "row.odd == '0'", message: the row is odd}]
retry: {attempts: 1}
sinks: [{type: jsonl, path: out/big.jsonl}]
"""
RUN, DIFF = ("run", "job.yaml", "--simulate"), ("diff", "big")
FIRST = (RUN, ("show", "big", "--failed"), ("show", "big", "--failed", "--limit", "3"), ("status", "big"))


def measure(folder: Path, words: tuple[str, ...], **variables: str) -> resource.struct_rusage:
    """Run a command to its end, and return what it used; `variables` are added to the environment."""
    line = [sys.executable, "-m", "runner", *words]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **variables}
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(line, cwd=folder, env=environ, stdout=quiet, stderr=quiet)
    return os.wait4(process.pid, 0)[2]


def write_rows(folder: Path, numbers: range) -> None:
    with (folder / "rows.csv").open("w") as file:
        file.write("id,odd,text\n")
        file.writelines(f"r{number},{number % 2},text number {number}\n" for number in numbers)


def report(folder: Path, rows: int, *commands: tuple[str, ...]) -> None:
    for words in commands:
        used = measure(folder, words)
        seconds, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
        print(f"{rows:,} rows: {seconds:6.1f} CPU s, {peak:4.0f} MB  runner {' '.join(words)}", flush=True)


def main(rows: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "job.yaml").write_text(SPEC)
        write_rows(folder, range(rows))
        report(folder, rows, *FIRST)
        (folder / "job.yaml").write_text(SPEC.replace("{{ text }}", "Label this: {{ text }}"))
        report(folder, rows, RUN, DIFF)
        write_rows(folder, range(rows - 1, -1, -1))
        report(folder, rows, RUN, DIFF)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
