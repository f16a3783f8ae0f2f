"""Compare `runner` with a hand-written SDK script on the same rows and the same simulator.

    python tests/benchmarks/compare.py [ROWS]

Prints the CPU seconds of submitting and of collecting, and the peak memory, of both; the simulator is a
process of its own and counts for neither.
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
sinks: [{type: jsonl, path: out.jsonl}]
batch: {max_requests: 10000}
"""


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
    return {**json.loads(printed), "total": usage.ru_utime + usage.ru_stime, "peak": usage.ru_maxrss / 1024}


def main(rows: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder / "rows.csv", rows)
        (folder / "schema.json").write_text(json.dumps(SCHEMA))
        (folder / "spec.yaml").write_text(SPEC)
        serve = [sys.executable, "-m", "runner", "simulate", "--seconds", "1"]
        with subprocess.Popen(serve, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
            assert server.stdout is not None
            url = server.stdout.readline().decode().strip()
            environ = {**os.environ, "ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "simulated"}
            began = time.monotonic()
            ours = measure([sys.executable, str(HERE / "ours.py"), "spec.yaml"], folder, environ)
            arguments = ["rows.csv", "schema.json", "hand.jsonl"]
            hand = measure([sys.executable, str(HERE / "hand.py"), *arguments], folder, environ)
            server.terminate()
    print(f"{rows:,} rows, {time.monotonic() - began:.0f} s in all")
    print(f"{'':24}{'hand script':>12}{'runner':>10}{'ratio':>8}")
    names = {"submit": "CPU s, import to submit", "collect": "CPU s, collect to end", "total": "CPU s, process"}
    for key, label in {**names, "peak": "peak memory, MB"}.items():
        print(f"{label:24}{hand[key]:>12.1f}{ours[key]:>10.1f}{hand[key] / ours[key]:>8.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
