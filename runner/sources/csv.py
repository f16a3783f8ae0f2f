"""CSV source: a header line, then one row per record. All values are text."""

import csv
from collections.abc import Iterator
from typing import Any

from runner.sources.inputs import Inputs
from runner.sources.text import fail, lines

_MAX_CELL = 1 << 28


def _header(path: str, cells: list[str] | None) -> list[str]:
    if cells is None:
        fail(path, "the file is empty: expected a header line")
    if not cells:
        fail(path, "the header line is empty", 1)
    for index, name in enumerate(cells, 1):
        if not name.strip():
            fail(path, f"column {index} has no name in the header", 1)
        if cells.index(name) != index - 1:
            fail(path, f"two columns are named {name!r} in the header", 1)
    return cells


def _records(path: str, reader: Any) -> Iterator[list[str]]:
    start = 1
    try:
        for cells in reader:
            yield cells
            start = reader.line_num + 1
    except csv.Error as error:
        hint = ": a quoted field is never closed" if "unexpected end" in str(error) else ""
        fail(path, f"not valid CSV: {error}{hint}", start)


def read_csv(
    inputs: Inputs, *, path: str, delimiter: str = ",", encoding: str = "utf-8"
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Yield one row per record; all files must have the same header. `line` is the last line of a record."""
    csv.field_size_limit(_MAX_CELL)
    first: list[str] = []
    for name, stream in inputs.open(path):
        reader = csv.reader(lines(name, stream, encoding), delimiter=delimiter, strict=True)
        records = _records(name, reader)
        header = _header(name, next(records, None))
        first = first or header
        if header != first:
            fail(name, f"the header is {', '.join(header)}, but earlier files have {', '.join(first)}", 1)
        width = len(header)
        for cells in records:
            if len(cells) == width:
                yield name, reader.line_num, dict(zip(header, cells, strict=True))
            elif cells:
                fail(name, f"the header has {width} fields, but this record has {len(cells)}", reader.line_num)
