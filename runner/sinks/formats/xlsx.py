"""Excel sink: one sheet with a bold header. Numbers and dates are typed; lists and mappings are JSON."""

import base64
import re
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import IO, Annotated, Any

from runner.io_types.annotations import keywords
from runner.io_types.limits import TextLimit
from runner.sinks.destination import Destination
from runner.tabular.column_types import to_text

_ROWS, _MAX_EXACT_INTEGER, _DIGITS = 1_048_576, 10**15, 15


_FIRST_DATE = date(1900, 1, 1)


_FIXED_TIME = (1980, 1, 1, 0, 0, 0)


# The last alternative matches text that already looks like such an escape.
_UNSUPPORTED_CHARACTERS = re.compile(r"[\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")


SheetName = Annotated[
    str,
    keywords(
        minLength=1,
        maxLength=31,
        pattern=r"^[^\[\]:*?/\\]+$",
        patternErrorMessage="expected a sheet name without [ ] : * ? / \\",
    ),
]


@contextmanager
def write_xlsx(
    destination: Destination, columns: Mapping[str, Any], *, sheet: SheetName = "Sheet1"
) -> Iterator[Callable[[Sequence[Any]], None]]:
    """Write a sheet of an Excel workbook, below a header.

    Yield a function that writes one row of values, which must already have the types in `columns`. The function
    raises ValueError for a value that a sheet cannot hold.

    Settings:
        path: Output file, relative to the project root, or a URL (`s3://`, `gs://`, `az://`). It is written
            completely or not at all.
        sheet: Name of the sheet.
    """
    from openpyxl.writer.excel import ExcelWriter

    book, page, make_text_cell = _create_book(columns, sheet)
    rows = 0

    def write(values: Sequence[Any]) -> None:
        nonlocal rows
        rows += 1
        if rows >= _ROWS:
            raise ValueError(f"a sheet can hold at most {_ROWS - 1:,} rows below its header: write csv or parquet")
        page.append([_make_cell(make_text_cell, value) for value in values])

    try:
        with destination.open_file() as file:
            yield write
            with _ReproducibleZip(file, "w") as archive:
                # The book's own `save` would write the current time.
                ExcelWriter(book, archive).save()
    except BaseException:
        # An unclosed page complains when it is garbage-collected.
        with suppress(Exception):
            page.close()
        raise


def _create_book(columns: Iterable[str], sheet: str) -> tuple[Any, Any, Callable[..., Any]]:
    """Return a workbook, its one sheet with a header, and the function that makes a cell of the sheet."""
    import openpyxl
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.styles import Font

    book = openpyxl.Workbook(write_only=True)
    book.properties.created = book.properties.modified = datetime(2000, 1, 1)  # noqa: DTZ001 - Excel has no zones
    page = book.create_sheet(sheet)
    page.freeze_panes = "A2"
    make_text_cell = partial(WriteOnlyCell, page)
    header = [_make_cell(make_text_cell, name) for name in columns]
    for cell in header:
        cell.font = Font(bold=True)
    page.append(header)
    return book, page, make_text_cell


def _make_cell(make_text_cell: Callable[..., Any], value: Any) -> Any:
    """Return what openpyxl writes as a cell: a plain value, or a cell that holds text."""
    plain = _to_cell(value)
    if not isinstance(plain, str):
        return plain
    cell = make_text_cell(value=_escape_text(plain))
    # Text that begins with = must stay text: it is not a formula.
    cell.data_type = "s"
    return cell


def _to_cell(value: Any) -> Any:
    """Return a value in the form that a cell can hold. What its numbers and dates cannot express is text."""
    if isinstance(value, datetime):
        value = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo is not None else value
        return value if value.date() >= _FIRST_DATE else value.isoformat()
    if isinstance(value, date):
        return value if value >= _FIRST_DATE else value.isoformat()
    if isinstance(value, bool | time | float) or value is None:
        return value
    if isinstance(value, int | Decimal):
        # A sheet has only floating-point numbers, with 15 digits.
        number = Decimal(value)
        is_exact = number.copy_abs() <= _MAX_EXACT_INTEGER and len(number.as_tuple().digits) <= _DIGITS
        return value if is_exact else str(value)
    if isinstance(value, bytes):
        value = base64.b64encode(value).decode()
    return to_text(value) or ""


class CellLimit:
    """The longest text of a cell. Excel counts UTF-16 units, and openpyxl cuts longer ones without a word."""

    _text = TextLimit(
        "a cell",
        most=32_767,
        measure=lambda text: len(_escape_text(text).encode("utf-16-le", "surrogatepass")) // 2,
        widest=7,
        note=" (an emoji counts as 2, and a control character as 7)",
    )

    def check(self, value: Any) -> None:
        """Raise Overflow for a value whose text is too long."""
        self._text.check(_to_cell(value))

    def cut(self, value: Any) -> Any:
        """Return the beginning of a value's text that fits."""
        return self._text.cut(_to_cell(value))


def _escape_text(text: str) -> str:
    """Return text with characters that XML cannot hold escaped in the format's way: `_x0007_`."""
    return _UNSUPPORTED_CHARACTERS.sub(lambda match: f"_x{ord(match[0][0]):04X}_{match[0][1:]}", text)


class _ReproducibleZip(zipfile.ZipFile):
    """An archive without the time of its creation, so that the same rows give the same bytes."""

    def _open_entry(self, name: str) -> IO[bytes]:
        entry = zipfile.ZipInfo(name, _FIXED_TIME)
        entry.compress_type = zipfile.ZIP_DEFLATED
        return self.open(entry, "w", force_zip64=True)

    def writestr(self, name: Any, data: Any, *_: Any) -> None:
        with self._open_entry(name) as part:
            part.write(data.encode() if isinstance(data, str) else data)

    def write(self, path: Any, name: Any = None, *_: Any) -> None:
        with Path(path).open("rb") as whole, self._open_entry(str(name)) as part:
            shutil.copyfileobj(whole, part)
