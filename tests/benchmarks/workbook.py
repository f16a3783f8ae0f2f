"""Measure whether memory grows with the rows of a workbook: `python -m tests.benchmarks.workbook [ROWS]`.

Reads a sheet of ROWS / 10 rows and one of ROWS through `runner.sources`, each in a process of its own: with a text
that no other row has, and with one of ten. Prints peak memory and CPU time per row.
"""

import sys
import tempfile
import time
from pathlib import Path

from runner.sources.input_files import Inputs
from runner.sources.read import read_rows
from runner.spec.spec import Source
from tests.benchmarks.parquet import LABELS, Figures, apart, measure_process


def make(path: Path, rows: int, texts: int) -> None:
    """Write a workbook as Excel does, with its texts in a table of their own."""
    import openpyxl

    book = openpyxl.Workbook(write_only=True)
    page = book.create_sheet("Rows")
    page.append(["id", "text", "amount"])
    for number in range(rows):
        page.append([number, f"text number {number % texts} of a customer", number / 4])
    book.save(path)


def reading(path: Path, rows: int) -> Figures:
    """Read a workbook of so many rows."""
    import openpyxl

    assert openpyxl
    began, count = time.process_time(), 0
    for row in read_rows(Source("xlsx", "id", {"path": path.name}), Inputs(path.parent)):
        count += row.number > 0
    assert count == rows
    return measure_process(rows, began)


def main(rows: int) -> None:
    """Measure both kinds of workbooks in both sizes, and print them."""
    sizes = (rows // 10, rows)
    print(f"{'rows':34}" + "".join(f"{size:>12,}" for size in sizes))
    with tempfile.TemporaryDirectory() as name:
        for kind, texts in (("a text of its own", rows), ("one of ten texts", 10)):
            found = []
            for size in sizes:
                path = Path(name) / f"{size}.xlsx"
                apart(make, path, size, texts)
                found.append(apart(reading, path, size))
            for label, values in zip(LABELS, zip(*found, strict=True), strict=True):
                print(f"{f'{kind}: {label}':34}" + "".join(f"{value:>12.1f}" for value in values), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
