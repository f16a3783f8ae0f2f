"""Short ways to read sources and to make their files."""

import csv
import datetime
import io
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pytest

from runner.errors import InputError, Problem
from runner.sources.input_files import InputFile, Inputs
from runner.sources.read import Row, read_rows
from runner.sources.registry import SOURCES
from runner.spec.spec import Source
from tests.support import ROOT


def read_all(
    root: Path,
    type: str,
    path: str,
    *,
    key: str | None = None,
    limit: int | None = None,
    inputs: Inputs | None = None,
    **options: Any,
) -> list[Row]:
    """Read every row of one source."""
    return list(read_rows(Source(type, key, {"path": path, **options}), inputs or Inputs(root), limit=limit))


def read_fields(root: Path, type: str, path: str, **options: Any) -> list[dict[str, Any]]:
    return [row.fields for row in read_all(root, type, path, **options)]


def read_error(root: Path, type: str, path: str, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        read_all(root, type, path, **options)
    return str(caught.value)


def write_workbook(path: Path, *lines: list[Any], sheet: str = "Sheet") -> None:
    book = openpyxl.Workbook()
    page = book.active
    assert page is not None
    page.title = sheet
    for line in lines:
        page.append(line)
    book.save(path)


TYPED_COLUMNS: dict[str, tuple[list[Any], Any, dict[str, Any], list[Any]]] = {
    "count": ([1, None], pa.int32(), {"type": "integer", "format": "int32"}, [1, None]),
    "big": ([2**63 + 1, 0], pa.uint64(), {"type": "integer", "format": "uint64"}, [2**63 + 1, 0]),
    "share": ([0.5, float("nan")], pa.float64(), {"type": "number"}, [0.5, None]),
    "sure": ([True, None], pa.bool_(), {"type": "boolean"}, [True, None]),
    "total": (
        [Decimal("12.30"), None],
        pa.decimal128(9, 2),
        {"type": "string", "format": "decimal(9,2)"},
        ["12.30", None],
    ),
    "day": (
        [datetime.date(2026, 11, 25), None],
        pa.date32(),
        {"type": "string", "format": "date"},
        ["2026-11-25", None],
    ),
    "at": (
        [datetime.datetime(2026, 11, 25, 1, 2, 3), None],
        pa.timestamp("us", tz="UTC"),
        {"type": "string", "format": "date-time"},
        ["2026-11-25T01:02:03+00:00", None],
    ),
    "scan": ([b"\0\1", None], pa.binary(), {"type": "string", "format": "byte"}, ["AAE=", None]),
    "lists": (
        [[[1, None], []], None],
        pa.list_(pa.list_(pa.int64())),
        {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
        [[[1, None], []], None],
    ),
    "part": (
        [{"a": "é", "b": None}, None],
        pa.struct([("a", pa.string()), ("b", pa.int64())]),
        {
            "type": "object",
            "properties": {"a": {"type": "string"}, "b": {"type": "integer"}},
            "additionalProperties": False,
        },
        [{"a": "é", "b": None}, None],
    ),
}  # fmt: skip
STREAM_SOURCES = [type for type in SOURCES if type not in ("files", "parquet", "rows", "run", "sql", "xlsx")]
"""The sources that read a file from its beginning to its end."""
LONG_CSV = b"a\n" + (b"1" * 999 + b"\n") * 900


def read_problem(root: Path, type: str, path: str, *, key: str | None = None, **o: Any) -> Problem:
    try:
        read_all(root, type, path, key=key, **o)
    except InputError as error:
        [found] = error.problems
        return found
    pytest.fail("every row was read")


def input_files(root: Path, type: str, path: str, *, limit: int | None = None) -> list[InputFile]:
    inputs = Inputs(root)
    for _ in read_rows(Source(type, None, {"path": path}), inputs, limit=limit):
        pass
    return inputs.files


def read_piped(data: bytes, type: str) -> subprocess.CompletedProcess[bytes]:
    script = (
        "import json, pathlib, sys\n"
        "from runner.sources.input_files import Inputs\n"
        "from runner.sources.read import read_rows\n"
        "from runner.spec.spec import Source\n"
        "inputs = Inputs(pathlib.Path())\n"
        "rows = list(read_rows(Source(sys.argv[1], None, {'path': '-'}), inputs))\n"
        "print(json.dumps([rows, [file.sha256 for file in inputs.files]]))\n"
    )
    command = [sys.executable, "-c", script, type]
    return subprocess.run(command, input=data, capture_output=True, cwd=ROOT, check=False)


def csv_bytes(cells: list[tuple[str, ...]], **dialect: Any) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, **dialect).writerows(cells)
    return text.getvalue().encode()
