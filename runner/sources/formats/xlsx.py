"""Excel source: the rows of one sheet, below a header. Formulas have their last saved result."""

import re
import warnings
from collections.abc import Iterator
from datetime import datetime, time
from typing import Any, BinaryIO

from runner.errors import InputError
from runner.io_types.annotations import NonEmpty, SeekablePath
from runner.sources.formats.text import raise_input_error
from runner.sources.input_files import Inputs
from runner.sources.json_values import check_column_names, row_to_json

_MAX_CELL = 1_000_000
"""The longest cell, in characters. Excel itself allows 32,767, and each can be escaped as seven."""


_ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")


def read_xlsx(
    inputs: Inputs, *, path: SeekablePath, sheet: NonEmpty | None = None
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Read a sheet of an Excel workbook, whose first row is the header.

    Empty rows are skipped. `line` is the row number.

    Settings:
        sheet: Name of the sheet. Default: the first one.
    """
    for name, file in inputs.open_seekable(path):
        header: list[str] = []
        for number, cells in enumerate(_read_rows(name, file, sheet), 1):
            values = [_cell_value(cell) for cell in cells]
            if any(isinstance(value, str) and len(value) > _MAX_CELL for value in values):
                raise_input_error(name, f"a cell holds more than {_MAX_CELL:,} characters", number)
            if all(value is None for value in values):
                continue
            try:
                if not header:
                    names = [str(one) if isinstance(one, int) else one for one in _strip_trailing_empty(values)]
                    header = check_column_names(names, f"row {number}, the header")
                    continue
                if bad := next((cell for cell in cells if cell.data_type == "e"), None):
                    raise_input_error(name, f"{bad.coordinate} contains the error {bad.value}", number)
                if len(values) > len(header) and any(value is not None for value in values[len(header) :]):
                    raise_input_error(
                        name, f"there is a value outside the {len(header)} columns of the header", number
                    )
                padded = [*values, *[None] * (len(header) - len(values))][: len(header)]
                yield name, number, row_to_json(header, [_unescape_text(value) for value in padded])
            except ValueError as error:
                raise_input_error(name, str(error), number)
        if not header:
            raise_input_error(name, "the sheet is empty: expected a header row")


def _cell_value(cell: Any) -> Any:
    """Return the value of a cell; midnight becomes a date unless the cell's format shows hours."""
    value = cell.value
    is_date = isinstance(value, datetime) and value.time() == time() and "h" not in cell.number_format.lower()
    return value.date() if is_date else value


def _unescape_text(value: Any) -> Any:
    """Return text with escapes such as `_x0007_` replaced by their characters, which XML cannot hold."""
    is_escaped = isinstance(value, str) and "_x" in value
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), value) if is_escaped else value


def _strip_trailing_empty(values: list[Any]) -> list[Any]:
    """Return the cells of a header up to the last non-empty one."""
    last = max(index for index, value in enumerate(values) if value is not None)
    return values[: last + 1]


def _read_rows(name: str, file: BinaryIO, sheet: str | None) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a sheet as tuples of cells. Raises InputError if the workbook cannot be read."""
    import openpyxl

    try:
        with warnings.catch_warnings():
            # openpyxl warns about parts that it does not read: styles, extensions, validations.
            warnings.simplefilter("ignore")
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
            if sheet is not None and sheet not in book.sheetnames:
                raise_input_error(name, f"there is no sheet {sheet!r}: the file has {', '.join(book.sheetnames)}")
            found: Any = book[sheet] if sheet is not None else book.worksheets[0]
            # The dimensions stored in a workbook can be wrong.
            found.reset_dimensions()
            yield from found.iter_rows()
    except InputError:
        raise
    except Exception as error:
        # For a damaged workbook, the library can raise any exception.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise_input_error(name, f"cannot be read as an Excel workbook (.xlsx, without a password): {error}")
    finally:
        if "book" in locals():
            book.close()
