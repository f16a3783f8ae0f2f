"""An Excel workbook with one sheet: a bold header, numbers and dates as such, lists and mappings as JSON."""

import base64
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from runner.columns import as_text
from runner.sinks.place import Place

_ROWS, _CHARACTERS, _EXACT, _DIGITS = 1_048_576, 32_767, 10**15, 15
_TIME = (1980, 1, 1, 0, 0, 0)
# The last is text that looks as if it was written so.
_UNHELD = re.compile(r"[\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")


@contextmanager
def write_xlsx(
    place: Place, columns: Mapping[str, Any], *, sheet: str = "Sheet1"
) -> Iterator[Callable[[Sequence[Any]], None]]:
    """Yield a function that writes one row of values, already of the types that `columns` say, below a header.

    It raises ValueError for what a sheet cannot hold.
    """
    import openpyxl
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.styles import Font
    from openpyxl.writer.excel import ExcelWriter

    book = openpyxl.Workbook(write_only=True)
    book.properties.created = book.properties.modified = datetime(2000, 1, 1)
    page = book.create_sheet(sheet)
    page.freeze_panes = "A2"
    rows = 0

    def cell(value: Any, *, is_header: bool = False) -> Any:
        plain = _plain(value)
        if not isinstance(plain, str):
            return plain
        made = WriteOnlyCell(page, value=_escaped(plain))
        # What begins with = is text here, no formula.
        made.data_type = "s"
        if is_header:
            made.font = Font(bold=True)
        return made

    def write(values: Sequence[Any]) -> None:
        nonlocal rows
        rows += 1
        if rows >= _ROWS:
            raise ValueError(f"a sheet holds {_ROWS - 1:,} rows below its header")
        page.append([cell(value) for value in values])

    page.append([cell(name, is_header=True) for name in columns])
    try:
        with place.file() as file:
            yield write
            with _Timeless(file, "w") as archive:
                # The book's own `save` puts the present time in.
                ExcelWriter(book, archive).save()
    except BaseException:
        # Left alone it complains when it is collected.
        with suppress(Exception):
            page.close()
        raise


def _plain(value: Any) -> Any:
    """A value as a cell holds it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo is not None else value
    if isinstance(value, bool | date | time | float) or value is None:
        return value
    if isinstance(value, int | Decimal):
        # A sheet has floating-point numbers only, of fifteen digits.
        number = Decimal(value)
        is_exact = number.copy_abs() <= _EXACT and len(number.as_tuple().digits) <= _DIGITS
        return value if is_exact else str(value)
    if isinstance(value, bytes):
        value = base64.b64encode(value).decode()
    text = as_text(value) or ""
    if len(text) > _CHARACTERS:
        raise ValueError(f"a cell holds {_CHARACTERS:,} characters, and this text has {len(text):,}")
    return text


def _escaped(text: str) -> str:
    """Text with the characters that XML cannot hold written as the format has them: `_x0007_`."""
    return _UNHELD.sub(lambda match: f"_x{ord(match[0][0]):04X}_{match[0][1:]}", text)


class _Timeless(zipfile.ZipFile):
    """An archive that does not tell when it was made: the same rows give the same bytes."""

    def _entry(self, name: str) -> IO[bytes]:
        entry = zipfile.ZipInfo(name, _TIME)
        entry.compress_type = zipfile.ZIP_DEFLATED
        return self.open(entry, "w", force_zip64=True)

    def writestr(self, name: Any, data: Any, *_: Any) -> None:
        with self._entry(name) as part:
            part.write(data.encode() if isinstance(data, str) else data)

    def write(self, path: Any, name: Any = None, *_: Any) -> None:
        with Path(path).open("rb") as whole, self._entry(str(name)) as part:
            shutil.copyfileobj(whole, part)
