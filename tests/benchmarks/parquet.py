"""Measure whether memory grows with the rows of a Parquet file: `python -m tests.benchmarks.parquet [ROWS]`.

Reads a file of ROWS / 10 rows and one of ROWS through `runner.sources`, and writes as many through
`runner.sinks`, each in a process of its own. Prints the peak memory of each beside each other, with the CPU
time per row.
"""

import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from runner import load_spec
from runner.sinks.destination import Destination
from runner.sinks.open import open_sink
from runner.sources.input_files import Inputs
from runner.sources.read import read_rows
from runner.spec.spec import Source
from runner.templates.expressions import RECORD_FIELDS

_GROUP = 50_000
_FIRST = date(2020, 1, 1)
_LINE = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "parts": {"type": "array", "items": {"type": "integer"}}},
}
COLUMNS = {
    "count": {"type": "integer"},
    "share": {"type": "number"},
    "ratio": {"type": ["number", "null"]},
    "due": {"type": "string", "format": "date"},
    "title": {"type": "string"},
    "body": {"type": "string"},
    "note": {"type": ["string", "null"]},
    "lines": {"type": "array", "items": _LINE},
}
SPEC = {
    "version": 1,
    "name": "benchmark",
    "source": {"type": "csv", "path": "rows.csv"},
    "prompt": {"user": "x"},
    "params": {"model": "claude-haiku-5-5", "max_tokens": 9},
    "output": {"schema": {"type": "object", "properties": COLUMNS}},
    "sinks": [
        {
            "type": "parquet",
            "path": "out.parquet",
            "columns": {"id": "key", "total": "row.total", **{name: f"output.{name}" for name in COLUMNS}},
            "types": {"id": "integer", "total": "decimal(12,2)"},
        }
    ],
}
LABELS = ("peak memory, MB", "CPU µs per row")


class Figures(NamedTuple):
    """Return the figures of a process that LABELS name."""

    peak: float
    microseconds: float


def due(number: int) -> date:
    """The date of a row."""
    return _FIRST + timedelta(days=number % 3000)


def answer(number: int) -> dict[str, Any]:
    """The output of a row, of about 200 bytes."""
    return {
        "count": number * 7919 % 1_000_003,
        "share": number / 7,
        "ratio": None if number % 3 else number / 11,
        "due": due(number).isoformat(),
        "title": f"Invoice {number} of customer {number * 31 % 99_991}, second copy",
        "body": f"{number:08x} was delivered and has to be paid in {number % 90} days",
        "note": None if number % 2 else f"see {number * 17}",
        "lines": [{"text": f"line {number + n}", "parts": [n, number]} for n in range(number % 4)],
    }


def make(path: Path, rows: int) -> None:
    """Write a Parquet file as somebody else would, a row group at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    line = pa.struct([("text", pa.string()), ("parts", pa.list_(pa.int64()))])
    schema = pa.schema(
        {
            "id": pa.int64(), "total": pa.decimal128(12, 2), "count": pa.int32(), "share": pa.float64(),
            "ratio": pa.float64(), "due": pa.date32(), "title": pa.string(), "body": pa.string(),
            "note": pa.string(), "lines": pa.list_(line),
        }
    )  # fmt: skip
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, rows, _GROUP):
            group = [
                {"id": number, "total": Decimal(number) / 100, **answer(number), "due": due(number)}
                for number in range(first, min(first + _GROUP, rows))
            ]
            writer.write_table(pa.Table.from_pylist(group, schema=schema), row_group_size=_GROUP)


def measure_process(rows: int, began: float) -> Figures:
    """The figures of this process, which began to work on so many rows at a CPU time."""
    used = time.process_time() - began
    return Figures(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, used / rows * 1e6)


def reading(folder: Path, rows: int) -> Figures:
    """Read the file of so many rows."""
    import pyarrow.parquet

    assert pyarrow.parquet
    began, count = time.process_time(), 0
    for row in read_rows(Source("parquet", "id", {"path": f"{rows}.parquet"}), Inputs(folder)):
        count += row.number > 0
    assert count == rows
    return measure_process(rows, began)


def writing(folder: Path, rows: int) -> Figures:
    """Write so many outcomes; to make them up counts for nothing but memory."""
    import pyarrow.parquet

    spec, place = load_spec(folder / "spec.yaml"), Destination(folder / f"out-{rows}.parquet")
    began = time.process_time()
    with open_sink(spec, 0, place, {}) as take:
        for number in range(rows):
            paused = time.process_time()
            record = {
                **dict.fromkeys(RECORD_FIELDS),
                "key": number,
                "row": {"total": f"{number / 100:.2f}"},
                "outcome": "succeeded",
                "output": answer(number),
            }
            began += time.process_time() - paused
            take(record)
    figures = measure_process(rows, began)
    assert pyarrow.parquet.read_metadata(place.path).num_rows == rows
    return figures


def apart(work: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a new process, and return its result."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def main(rows: int) -> None:
    """Measure all four, and print them."""
    sizes = (rows // 10, rows)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "spec.yaml").write_text(json.dumps(SPEC))
        for size in sizes:
            apart(make, folder / f"{size}.parquet", size)
        megabytes = (folder / f"{rows}.parquet").stat().st_size / 1e6
        works = (reading, writing)
        found = {work.__name__: [apart(work, folder, size) for size in sizes] for work in works}
    heads = "".join(f"{size:>12,}" for size in sizes)
    print(f"{'rows':26}{heads}   (a file of {megabytes:.0f} MB)")
    for name, figures in found.items():
        for label, values in zip(LABELS, zip(*figures, strict=True), strict=True):
            print(f"{f'{name}: {label}':26}" + "".join(f"{value:>12.1f}" for value in values))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
