"""Excel source: the rows of one sheet, below a header. Formulas have their last saved result."""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, time
from typing import Any, BinaryIO
from zipfile import BadZipFile, ZipFile

from runner.errors import InputError
from runner.io_types.annotations import NonEmpty, SeekablePath
from runner.sources.formats.text import raise_input_error
from runner.sources.formats.xlsx_formulas import column_number, find_uncomputed
from runner.sources.input_files import Inputs
from runner.sources.json_values import check_column_names, row_to_json, suggest_columns, to_json
from runner.tabular.column_types import OUTSIDE_YEARS

_MAX_CELL = 1_000_000
"""The longest cell, in characters. Excel itself allows 32,767, and each can be escaped as seven."""


_MAX_EXACT = 1 << 53
"""From here on, a float does not hold every whole number."""


_UNCOMPUTED = (
    "is a formula without a stored result: open the workbook in Excel or LibreOffice and save it, which computes "
    "the formulas"
)


_BAD_DATE = re.compile(r"Cell (\w+) is marked as a date but the serial value (\S+) is outside")


_ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")


def read_xlsx(
    inputs: Inputs, *, path: SeekablePath, sheet: NonEmpty | None = None
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Read a sheet of an Excel workbook, whose first row is the header.

    Empty rows are skipped. `line` is the row number.

    Settings:
        sheet: Name of the sheet. Default: the first one that is not hidden.
    """
    for name, file in inputs.open_seekable(path):
        header: list[str] = []
        for number, cells, faults in _read_rows(name, file, sheet):
            values = [_cell_value(cell) for cell in cells]
            if any(isinstance(value, str) and len(value) > _MAX_CELL for value in values):
                raise_input_error(name, f"a cell holds more than {_MAX_CELL:,} characters", number)
            if all(value is None for value in values) and not faults:
                continue
            try:
                if not header:
                    header = _read_header(values, number, faults, inputs.columns)
                    continue
                _check_cells(cells, header, faults, inputs.columns)
                padded = [*values, *[None] * (len(header) - len(values))][: len(header)]
                taken = _take_columns(header, padded, inputs.columns)
                yield name, number, row_to_json(list(taken), map(_unescape_text, taken.values()))
            except ValueError as error:
                raise_input_error(name, str(error), number)
        if not header:
            raise_input_error(name, "the sheet is empty: expected a header row")


def _read_header(values: list[Any], number: int, faults: Mapping[str, str], wanted: Sequence[str]) -> list[str]:
    """Return the names of the columns. Raises ValueError if one that the spec may take is unusable."""
    for reference, fault in faults.items():
        raise ValueError(f"{reference} {fault}")
    last = max(index for index, value in enumerate(values) if value is not None)
    # A name that is no text is written as in the outputs of a row.
    names = ["" if value is None else str(to_json(value)) for value in values[: last + 1]]
    try:
        return check_column_names(names, f"row {number}, the header", wanted)
    except ValueError as error:
        raise ValueError(f"{error}: {suggest_columns(names)}") from error


def _check_cells(
    cells: Sequence[Any], header: list[str], faults: Mapping[str, str], wanted: Sequence[str]
) -> None:
    """Raise ValueError if a cell that the spec takes has a fault or an error, or is outside the header."""
    if not wanted and any(cell.value is not None for cell in cells[len(header) :]):
        raise ValueError(f"there is a value outside the {len(header)} columns of the header")
    for reference, fault in faults.items():
        index = column_number(reference) - 1
        if index >= len(header) or not wanted or header[index] in wanted:
            raise ValueError(f"{reference} {fault}")
    for cell, name in zip(cells, header, strict=False):
        if cell.data_type == "e" and (not wanted or name in wanted):
            raise ValueError(f"{cell.coordinate} contains the error {cell.value}")


def _take_columns(header: list[str], values: list[Any], wanted: Sequence[str]) -> dict[str, Any]:
    """Return the values by name; with `wanted`, only those."""
    return {name: value for name, value in zip(header, values, strict=True) if not wanted or name in wanted}


def _cell_value(cell: Any) -> Any:
    """Return the value of a cell as Excel shows it.

    Midnight becomes a date unless the cell's format shows hours, and a whole number such as 2024.0 an integer.
    """
    value = cell.value
    if isinstance(value, float) and value.is_integer() and abs(value) < _MAX_EXACT:
        return int(value)
    is_date = isinstance(value, datetime) and value.time() == time() and "h" not in cell.number_format.lower()
    return value.date() if is_date else value


def _unescape_text(value: Any) -> Any:
    """Return text with escapes such as `_x0007_` replaced by their characters, which XML cannot hold."""
    is_escaped = isinstance(value, str) and "_x" in value
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), value) if is_escaped else value


def _read_rows(
    name: str, file: BinaryIO, sheet: str | None
) -> Iterator[tuple[int, tuple[Any, ...], dict[str, str]]]:
    """Yield each row of a sheet: its number, its cells, and what is wrong with some of them, by reference.

    Raises InputError if the workbook cannot be read.
    """
    import openpyxl

    try:
        with warnings.catch_warnings(record=True) as caught:
            # openpyxl warns about parts that it does not read: styles, extensions, validations.
            warnings.simplefilter("ignore")
            warnings.filterwarnings("always", message="Cell .* is marked as a date")
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
            found = _choose_sheet(name, book, sheet)
            # The dimensions stored in a workbook can be wrong.
            found.reset_dimensions()
            uncomputed = find_uncomputed(file, found.title)
            ahead = next(uncomputed, None)
            for number, cells in enumerate(found.iter_rows(), 1):
                faults = _find_bad_dates([str(one.message) for one in caught])
                caught.clear()
                while ahead is not None and ahead[0] <= number:
                    faults[ahead[1]] = _UNCOMPUTED
                    ahead = next(uncomputed, None)
                yield number, cells, faults
    except InputError:
        raise
    except Exception as error:
        # For a damaged workbook, the library can raise any exception.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise_input_error(name, _describe_unreadable(file, error))
    finally:
        if "book" in locals():
            book.close()


def _find_bad_dates(messages: Sequence[str]) -> dict[str, str]:
    """Return what is wrong with the cells that openpyxl warns about: it reads their numbers as errors."""
    found = [match for message in messages if (match := _BAD_DATE.match(message))]
    remedy = "correct it, or give the cell the format of a number"
    return {match[1]: f"is the number {match[2]} as a date {OUTSIDE_YEARS}: {remedy}" for match in found}


def _choose_sheet(name: str, book: Any, sheet: str | None) -> Any:
    """Return the named sheet, or the first one that is not hidden. Raises InputError if it is not there."""
    if sheet is None:
        return next((one for one in book.worksheets if one.sheet_state == "visible"), book.worksheets[0])
    if sheet not in book.sheetnames:
        raise_input_error(name, f"there is no sheet {sheet!r}: the file has {', '.join(book.sheetnames)}")
    return book[sheet]


def _describe_unreadable(file: BinaryIO, error: Exception) -> str:
    try:
        with ZipFile(file) as archive:
            is_strict = b"purl.oclc.org/ooxml/" in archive.read("xl/workbook.xml")
    except (BadZipFile, KeyError, OSError, ValueError):
        is_strict = False
    if is_strict:
        return "is a Strict Open XML workbook: save it as Excel Workbook (.xlsx), without Strict"
    return f"cannot be read as an Excel workbook (.xlsx, without a password): {error}"
