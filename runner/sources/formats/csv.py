"""CSV source: a header line, then one row per record. All values are text."""

import csv
from collections.abc import Iterator
from typing import Any

from runner.io_types.annotations import Delimiter, InputPath
from runner.sources.formats.text import raise_input_error, read_lines
from runner.sources.input_files import Inputs

_MAX_CELL_CHARS = 1 << 28


def _check_header(path: str, cells: list[str] | None) -> list[str]:
    if cells is None:
        raise_input_error(path, "the file is empty: expected a header line")
    if not cells:
        raise_input_error(path, "the header line is empty", 1)
    for index, name in enumerate(cells, 1):
        if not name.strip():
            raise_input_error(path, f"column {index} has no name in the header", 1)
        if cells.index(name) != index - 1:
            raise_input_error(path, f"two columns are named {name!r} in the header", 1)
    return cells


def _read_records(path: str, reader: Any) -> Iterator[list[str]]:
    start = 1
    try:
        for cells in reader:
            yield cells
            start = reader.line_num + 1
    except csv.Error as error:
        hint = ": a quoted field is never closed" if "unexpected end" in str(error) else ""
        raise_input_error(path, f"not valid CSV: {error}{hint}", start)


def read_csv(
    inputs: Inputs, *, path: InputPath, delimiter: Delimiter = ",", encoding: str = "utf-8"
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Read CSV: one row per record below a header line; all values stay text.

    All files must have the same header. `line` is the last line of a record.

    Settings:
        encoding: Text encoding of the file, by its Python name. UTF-8 may begin with a byte order mark.
    """
    csv.field_size_limit(_MAX_CELL_CHARS)
    first: list[str] = []
    for name, stream in inputs.open_files(path):
        reader = csv.reader(read_lines(name, stream, encoding), delimiter=delimiter, strict=True)
        records = _read_records(name, reader)
        header = _check_header(name, next(records, None))
        first = first or header
        if header != first:
            raise_input_error(
                name, f"the header is {', '.join(header)}, but earlier files have {', '.join(first)}", 1
            )
        width = len(header)
        for cells in records:
            if len(cells) == width:
                yield name, reader.line_num, dict(zip(header, cells, strict=True))
            elif cells:
                raise_input_error(
                    name, f"the header has {width} fields, but this record has {len(cells)}", reader.line_num
                )
