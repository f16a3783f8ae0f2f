"""Measure the report of a big run: `python -m tests.report.large [ROWS]`.

The rows have about 600 characters of different words, and one in fifty fails. Prints the CPU seconds and the
peak memory of `runner report`, the size of its page, and how long Chromium takes to open it, to show another page
and to search all rows.
"""

import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.report.browser import Page, find_chromium, open_browser

SPEC = """\
version: 1
name: big
source: {type: csv, path: rows.csv, key: id}
prompt: {user: "{{ text }}"}
params: {model: claude-haiku-5-5, max_tokens: 300}
output:
  schema:
    type: object
    properties:
      label: {enum: [good, bad, neither]}
      score: {type: integer, minimum: 0, maximum: 100}
      summary: {type: string, minLength: 60}
      day: {type: string, format: date}
    required: [label, score, summary, day]
    additionalProperties: false
  checks: [{check: "row.fails == '0'", message: "score: it fails"}]
retry: {attempts: 1}
sinks: [{type: jsonl, path: out/big.jsonl}]
"""
READY = "document.readyState === 'complete' && / of /.test(document.getElementById('status').textContent)"
STATUS = "document.getElementById('status').textContent"


def measure(folder: Path, *words: str) -> resource.struct_rusage:
    """Run a command to its end, and return what it used."""
    line = [sys.executable, "-m", "runner", *words]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(line, cwd=folder, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return os.wait4(process.pid, 0)[2]


def write_rows(folder: Path, rows: int) -> None:
    """Rows of about a hundred words, of 20,000 different ones."""
    chance = random.Random(11)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 9))) for _ in range(20_000)]
    with (folder / "rows.csv").open("w") as file:
        file.write("id,fails,text\n")
        file.writelines(
            f"r{number},{int(number % 50 == 0)},{' '.join(chance.choices(words, k=95))}\n"
            for number in range(rows)
        )


def open_page(page: Page, path: Path) -> None:
    started = time.monotonic()
    page.open(path, until=READY)
    print(f"opened after {time.monotonic() - started:.2f} s")
    started = time.monotonic()
    page.evaluate("document.getElementById('last').click()")
    page.wait(f"!{STATUS}.startsWith('1 to')")
    print(f"last page after {time.monotonic() - started:.2f} s")
    started = time.monotonic()
    page.evaluate("query.value = 'r77777', query.dispatchEvent(new Event('input'))")
    page.wait(f"/^(1 to 1 of )?[01] of /.test({STATUS})")
    print(f"searched all rows after {time.monotonic() - started:.2f} s; problems: {page.problems}")


def main(rows: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "job.yaml").write_text(SPEC)
        write_rows(folder, rows)
        measure(folder, "run", "job.yaml", "--simulate")
        used = measure(folder, "report", "big", "-o", "report.html")
        size = (folder / "report.html").stat().st_size / 1e6
        seconds, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
        print(f"{rows:,} rows: {seconds:.1f} CPU s, {peak:.0f} MB, a page of {size:.1f} MB", flush=True)
        if chromium := find_chromium():
            with open_browser(chromium) as page:
                open_page(page, folder / "report.html")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
