"""Measure what it costs to start each command: `python -m tests.benchmarks.startup [TIMES]`.

Prints the median CPU seconds and the peak memory of each command in a project with a run of one row, and the
ratio of its CPU seconds to those of importing the SDK and making a client.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]

SPEC = """\
version: 1
name: one
source: {type: csv, path: rows.csv, key: id}
prompt: {user: "{{ text }}"}
params: {model: claude-haiku-5-5, max_tokens: 100}
output:
  schema: {type: object, properties: {label: {enum: [good, bad]}}, required: [label], additionalProperties: false}
sinks: [{type: jsonl, path: out/one.jsonl}]
"""
CLIENT = ("-c", "import anthropic; anthropic.Anthropic()")
RUN = "run job.yaml --yes --poll-seconds 0.1"
COMMANDS = (
    "--help", "status", "show one", "doctor", "validate job.yaml", "render job.yaml", "plan job.yaml --offline",
    RUN, f"{RUN} --new",
)  # fmt: skip


def measure(folder: Path, environ: Mapping[str, str], words: tuple[str, ...]) -> tuple[float, float]:
    """The CPU seconds of a Python command, and its peak memory in MB."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([sys.executable, *words], cwd=folder, env=environ, stdout=quiet, stderr=quiet)
    used = os.wait4(process.pid, 0)[2]
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main(times: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "job.yaml").write_text(SPEC)
        (folder / "rows.csv").write_text("id,text\nr1,hello\n")
        serve = [sys.executable, "-m", "runner", "simulate", "--seconds", "0.1"]
        with subprocess.Popen(serve, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
            assert server.stdout is not None
            url = server.stdout.readline().decode().strip()
            # With bytecode on disk, as after an installation.
            own = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "simulated", "PYTHONDONTWRITEBYTECODE": ""}
            compare(folder, {**os.environ, "PYTHONPATH": str(ROOT), **own}, times)
            server.terminate()


def compare(folder: Path, environ: Mapping[str, str], times: int) -> None:
    commands: dict[str, tuple[str, ...]] = {f"python {' '.join(CLIENT)}": CLIENT}
    commands |= {f"runner {words}": ("-m", "runner", *words.split()) for words in COMMANDS}
    measure(folder, environ, commands[f"runner {RUN}"])
    # In turns, because other processes slow all of them down from time to time.
    rounds = [[measure(folder, environ, words) for words in commands.values()] for _ in range(times)]
    columns = [zip(*figures, strict=True) for figures in zip(*rounds, strict=True)]
    found = [(median(seconds), max(peaks)) for seconds, peaks in columns]
    for command, (seconds, peak) in zip(commands, found, strict=True):
        print(f"{seconds:5.2f} CPU s  {peak:4.0f} MB  {seconds / found[0][0]:.2f}  {command}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
