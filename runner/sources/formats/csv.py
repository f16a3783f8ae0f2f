"""CSV source: a header line, then one row per record. All values are text."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Annotated, Any

from runner.errors import InputError, Problem
from runner.io_types.annotations import InputPath, keywords
from runner.sources.formats.text import MAX_RECORD, raise_input_error, raise_too_long, read_lines
from runner.sources.input_files import Inputs
from runner.sources.json_values import check_column_names, suggest_columns
from runner.text import pluralize

_GUESSED = ",;\t|"
"""The delimiters that `auto` chooses from; the first one wins a draw."""

_Character = keywords(pattern="^[^\r\n\0]$", patternErrorMessage="expected one character that is not a line break")
_Delimiter = Annotated[
    str,
    keywords(
        pattern='^([^"\r\n\0]|auto)$',
        patternErrorMessage="expected one character that is not a quote or a line break, or auto",
    ),
]


def _check_header(path: str, cells: list[str], line: int, wanted: Sequence[str]) -> list[str]:
    """Return the names of the columns. Those that the spec does not take may be repeated or have no name."""
    if not cells:
        raise_input_error(path, "the header line is empty", line)
    try:
        return check_column_names(cells, "the header", wanted)
    except ValueError as error:
        remedy = suggest_columns(cells)
        raise InputError([Problem(path, f"{error}: {remedy}", line, remedy=remedy)]) from error


class _RecordLines:
    """The lines of a CSV file, without comments. A record may have many of them, but is not too long."""

    def __init__(self, path: str, lines: Iterator[str], skip: int, comment: str | None) -> None:
        self._path, self._comment = path, comment
        self._lines = enumerate(lines, 1)
        for _ in islice(self._lines, skip):
            pass
        self.start, self.number, self.size = skip + 1, skip, 0

    def __iter__(self) -> Iterator[str]:
        for number, line in self._lines:
            self.number = number
            if self.size == 0 and self._comment is not None and line.startswith(self._comment):
                continue
            self.start = self.start if self.size else self.number
            self.size += len(line)
            if self.size > MAX_RECORD:
                raise_too_long(self._path, self.start)
            yield line


@dataclass(frozen=True, slots=True)
class _Dialect:
    """The dialect of a CSV file: its delimiter, or auto, and its quote."""

    delimiter: str
    quote: str

    def read(self, path: str, lines: _RecordLines) -> Iterator[list[str]]:
        """Yield the cells of each record. Raises InputError with the line on which a wrong one begins."""
        first = next(iter(lines), None)
        if first is None:
            return
        delimiter, first = self._find_delimiter(path, first, lines)
        written = chain([] if first is None else [first], lines)
        reader = csv.reader(written, delimiter=delimiter, quotechar=self.quote, strict=True)
        try:
            for cells in reader:
                yield cells
                lines.size = 0
        except csv.Error as error:
            hint = ": a quoted field is never closed" if "unexpected end" in str(error) else ""
            raise_input_error(path, f"not valid CSV: {error}{hint}", lines.start)

    def _find_delimiter(self, path: str, first: str, lines: _RecordLines) -> tuple[str, str | None]:
        """Return the delimiter and the first line, which is None if it only names the delimiter, as Excel does."""
        text = first.rstrip("\r\n")
        if len(text) == 5 and text.lower().startswith("sep="):
            if self.delimiter not in (text[4], "auto"):
                raise_input_error(
                    path, f"the first line says that the delimiter is {text[4]!r}: set `delimiter: {text[4]!r}`", 1
                )
            lines.size = 0
            return text[4], None
        if self.delimiter != "auto":
            return self.delimiter, first
        unquoted = "".join(text.split(self.quote)[::2])
        return max(_GUESSED, key=unquoted.count), first


def read_csv(
    inputs: Inputs,
    *,
    path: InputPath,
    delimiter: _Delimiter = ",",
    encoding: str = "utf-8",
    header: Annotated[Any, keywords(type=("boolean", "array"), items={"type": "string", "minLength": 1})] = True,
    skip_rows: Annotated[int, keywords(minimum=0)] = 0,
    quote: Annotated[str, _Character] = '"',
    comment: Annotated[str, _Character] | None = None,
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Read CSV: one row per record below a header line; all values stay text.

    All files must have the same header. `line` is the last line of a record.

    Settings:
        delimiter: Character between two fields. `auto` takes the one of `,`, `;`, `|` and the tab that the first
            line has most often.
        encoding: Text encoding of the file, by its Python name. UTF-8 may begin with a byte order mark. `auto`
            takes the encoding that the byte order mark names, or else UTF-8.
        header: The names of the columns if the file has none, or false to name them c1, c2 and so on.
        skip_rows: Number of lines before the header that are not read.
        quote: Character around fields that contain delimiters or line breaks.
        comment: Character with which a line begins that is not read.
    """
    csv.field_size_limit(MAX_RECORD)
    dialect, first = _Dialect(delimiter, quote), list[str]()
    for name, stream in inputs.open_files(path):
        lines = _RecordLines(name, read_lines(name, stream, encoding), skip_rows, comment)
        records = dialect.read(name, lines)
        names, records = _find_names(name, records, lines, header, inputs.columns)
        first = first or names
        if names != first:
            raise_input_error(
                name, f"the header is {', '.join(names)}, but earlier files have {', '.join(first)}", lines.number
            )
        width = len(names)
        for cells in records:
            if len(cells) == width:
                yield name, lines.number, dict(zip(names, cells, strict=True))
            elif cells:
                raise_input_error(name, _describe_mismatch(names, cells), lines.number)


def _describe_mismatch(names: Sequence[str], cells: Sequence[str]) -> str:
    """Return the message about a record that has more or fewer fields than the header."""
    message = f"the header has {pluralize(len(names), 'field')}, but this record has {len(cells)}"
    if (other := suggest_delimiter(names)) is not None:
        return f"{message}: if {names[0]!r} is several columns, set {other} in the source"
    remedy = "put quotes around fields that hold the delimiter" if len(cells) > len(names) else "add the others"
    return f"{message}: {remedy}"


def suggest_delimiter(columns: Sequence[str]) -> str | None:
    """Return the setting for the delimiter that the name of an only column holds, or None."""
    if len(columns) != 1:
        return None
    sign = max(_GUESSED, key=columns[0].count)
    return f"`delimiter: {json.dumps(sign)}`" if sign in columns[0] else None


def _find_names(
    path: str, records: Iterator[list[str]], lines: _RecordLines, header: Any, wanted: Sequence[str]
) -> tuple[list[str], Iterator[list[str]]]:
    """Return the names of the columns, and the records below the header."""
    if isinstance(header, list):
        return _check_header(path, header, 0, wanted), records
    cells = next(records, None)
    if cells is None:
        raise_input_error(path, f"the file is empty: expected a {'header line' if header else 'record'}")
    if header:
        return _check_header(path, cells, lines.number, wanted), records
    return [f"c{number}" for number in range(1, len(cells) + 1)], chain([cells], records)
