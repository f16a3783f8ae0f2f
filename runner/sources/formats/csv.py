"""CSV source: a header line, then one row per record. All values are text."""

import csv
from collections.abc import Iterator
from typing import Any

from runner.io_types.annotations import Delimiter, InputPath
from runner.sources.formats.text import MAX_RECORD, raise_input_error, raise_too_long, read_lines
from runner.sources.input_files import Inputs


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


class _RecordLines:
    """The lines of a CSV file. A record may have many of them, but is not too long."""

    def __init__(self, path: str, lines: Iterator[str]) -> None:
        self._path, self._lines = path, lines
        self.start, self.size = 1, 0

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.size += len(line)
            if self.size > MAX_RECORD:
                raise_too_long(self._path, self.start)
            yield line


def _read_records(path: str, lines: _RecordLines, reader: Any) -> Iterator[list[str]]:
    try:
        for cells in reader:
            yield cells
            lines.start, lines.size = reader.line_num + 1, 0
    except csv.Error as error:
        hint = ": a quoted field is never closed" if "unexpected end" in str(error) else ""
        raise_input_error(path, f"not valid CSV: {error}{hint}", lines.start)


def read_csv(
    inputs: Inputs, *, path: InputPath, delimiter: Delimiter = ",", encoding: str = "utf-8"
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Read CSV: one row per record below a header line; all values stay text.

    All files must have the same header. `line` is the last line of a record.

    Settings:
        encoding: Text encoding of the file, by its Python name. UTF-8 may begin with a byte order mark.
    """
    csv.field_size_limit(MAX_RECORD)
    first: list[str] = []
    for name, stream in inputs.open_files(path):
        lines = _RecordLines(name, read_lines(name, stream, encoding))
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        records = _read_records(name, lines, reader)
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
