"""Compare `runner` with a hand-written SDK script on the same rows and the same simulator.

    python -m tests.benchmarks.compare [ROWS] [--csv] [--alone]

Prints the CPU seconds of submitting and of collecting, without those of importing the SDK, and the peak
memory, of both; the simulator is a process of its own and counts for neither. With `--csv` the answers are
short, and both write CSV besides JSON Lines. `--alone` leaves the hand-written script out, which takes 10 KB of
memory per row.
"""

import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
SCHEMA = {
    "type": "object",
    "properties": {
        "vendor": {"type": "string"},
        "date": {"type": "string", "format": "date"},
        "currency": {"enum": ["EUR", "USD", "GBP"]},
        "total": {"type": "number"},
        "lines": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"text": {"type": "string"}, "amount": {"type": "number"}},
                "required": ["text", "amount"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["vendor", "date", "currency", "total", "lines"],
    "additionalProperties": False,
}
SHORT_SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["good", "bad"]}, "score": {"type": "integer"}},
    "required": ["label", "score"],
    "additionalProperties": False,
}
SPEC = """version: 1
name: benchmark
source: {type: csv, path: rows.csv, key: id}
prompt:
  user: |
    Extract the fields of this document.
    <document>
    {{ text }}
    </document>
params: {model: claude-haiku-5-5, max_tokens: 1024}
output: {schema: schema.json}
batch: {max_requests: 10000}
sinks:
  - {type: jsonl, path: out.jsonl}
"""
CSV_SINK = "  - {type: csv, path: out.csv}\n"
FIGURES = {
    "submit": "CPU s, prepare and submit",
    "collect": "CPU s, collect and write",
    "both": "CPU s, both",
    "total": "CPU s, whole process",
    "peak": "peak memory, MB",
}


def write_rows(path: Path, rows: int) -> None:
    """About 1 KB of text per row."""
    chance = random.Random(0)
    words = [f"word{number}" for number in range(2000)]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        for number in range(rows):
            writer.writerow([f"row-{number}", " ".join(chance.choices(words, k=125))])


def measure(command: list[str], folder: Path, environ: dict[str, str]) -> dict[str, float]:
    """Run a child; its own figures, with the CPU seconds of the whole process and its peak memory in MB."""
    with subprocess.Popen(command, cwd=folder, env=environ, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        printed = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{command[1]} failed with {child.returncode}")
    own: dict[str, float] = json.loads(printed)
    own["both"] = own["submit"] + own["collect"]
    return {**own, "total": usage.ru_utime + usage.ru_stime, "peak": usage.ru_maxrss / 1024}


def main(rows: int, *, alone: bool, has_csv: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder / "rows.csv", rows)
        (folder / "schema.json").write_text(json.dumps(SHORT_SCHEMA if has_csv else SCHEMA))
        (folder / "spec.yaml").write_text(SPEC + (CSV_SINK if has_csv else ""))
        serve = [sys.executable, "-m", "runner", "simulate", "--seconds", "1"]
        with subprocess.Popen(serve, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
            assert server.stdout is not None
            url = server.stdout.readline().decode().strip()
            environ = {**os.environ, "ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "simulated"}
            began = time.monotonic()
            found = {"runner": measure([sys.executable, str(HERE / "ours.py"), "spec.yaml"], folder, environ)}
            if not alone:
                words = [sys.executable, str(HERE / "hand.py"), "rows.csv", "schema.json", "hand.jsonl"]
                words += ["hand.csv"] if has_csv else []
                found["hand script"] = measure(words, folder, environ)
            server.terminate()
    print(f"{rows:,} rows, {time.monotonic() - began:.0f} s in all")
    print(f"{'':28}" + "".join(f"{name:>14}" for name in found) + ("" if alone else f"{'ratio':>10}"))
    for key, label in FIGURES.items():
        values = [figures[key] for figures in found.values()]
        ratio = "" if alone else f"{values[1] / values[0]:>10.1f}"
        print(f"{label:28}" + "".join(f"{value:>14.1f}" for value in values) + ratio)


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:] if word.isdecimal()]
    main(*(numbers or [100_000]), alone="--alone" in sys.argv, has_csv="--csv" in sys.argv)
