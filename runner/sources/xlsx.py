"""Rows of a sheet of an Excel workbook: the first row is the header; formulas count with their last result."""

import re
import warnings
from collections.abc import Iterator
from datetime import datetime, time
from typing import Any, BinaryIO

from runner.errors import InputError
from runner.sources.inputs import Inputs
from runner.sources.text import fail
from runner.sources.values import check_names, plain_row

_ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")


def read_xlsx(inputs: Inputs, *, path: str, sheet: str | None = None) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """One row per row of the sheet `sheet`, by default the first, that has a value; `line` is its row."""
    for name, file in inputs.whole(path):
        header: list[str] = []
        for number, cells in enumerate(_rows(name, file, sheet), 1):
            values = [_value(cell) for cell in cells]
            if all(value is None for value in values):
                continue
            try:
                if not header:
                    names = [str(one) if isinstance(one, int) else one for one in _without_end(values)]
                    header = check_names(names, f"row {number}, the header")
                    continue
                if bad := next((cell for cell in cells if cell.data_type == "e"), None):
                    fail(name, f"{bad.coordinate} holds the error {bad.value}", number)
                if len(values) > len(header) and any(value is not None for value in values[len(header) :]):
                    fail(name, f"there is a value beside the {len(header)} columns of the header", number)
                padded = [*values, *[None] * (len(header) - len(values))][: len(header)]
                yield name, number, plain_row(header, [_unescaped(value) for value in padded])
            except ValueError as error:
                fail(name, str(error), number)
        if not header:
            fail(name, "the sheet is empty: a header row is expected")


def _value(cell: Any) -> Any:
    """What a cell holds; a time of day is part of it only where its format shows one."""
    value = cell.value
    is_date = isinstance(value, datetime) and value.time() == time() and "h" not in cell.number_format.lower()
    return value.date() if is_date else value


def _unescaped(value: Any) -> Any:
    """Text with the characters that XML cannot hold, which the format writes as `_x0007_`."""
    is_escaped = isinstance(value, str) and "_x" in value
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), value) if is_escaped else value


def _without_end(values: list[Any]) -> list[Any]:
    """The cells of a header up to the last that is not empty."""
    last = max(index for index, value in enumerate(values) if value is not None)
    return values[: last + 1]


def _rows(name: str, file: BinaryIO, sheet: str | None) -> Iterator[tuple[Any, ...]]:
    """The rows of cells of a sheet, one at a time."""
    import openpyxl

    try:
        with warnings.catch_warnings():
            # It warns of what it does not read: styles, extensions, validations.
            warnings.simplefilter("ignore")
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
            if sheet is not None and sheet not in book.sheetnames:
                fail(name, f"there is no sheet {sheet!r}: it has {', '.join(book.sheetnames)}")
            found: Any = book[sheet] if sheet is not None else book.worksheets[0]
            # What a workbook says of its size need not be true.
            found.reset_dimensions()
            yield from found.iter_rows()
    except InputError:
        raise
    except Exception as error:
        # A damaged workbook makes the library raise whatever it happens to meet.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        fail(name, f"cannot be read as an Excel workbook (.xlsx, without a password): {error}")
    finally:
        if "book" in locals():
            book.close()
