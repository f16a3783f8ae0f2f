"""Files of any folder are read as others read them: `python -m tests.proofs.corpora FOLDER…`.

Each CSV file, workbook and Parquet file is read as a source and by an independent reader (DuckDB, Calamine),
each PDF and image as an attachment and by pypdf or Pillow. `pip install '.[proofs]'` installs the readers.
Printed are the counts of each verdict for each kind of file, and each file of which the values differ, or that one
side refuses, with what it says. A traceback of the runner ends the proof with 1.
"""

import math
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

from runner.errors import InputError
from runner.files.media_types import CONVERTIBLE_TYPES, detect_media_type
from runner.requests.attachment_limits import measure_attachment
from runner.requests.attachment_totals import AttachmentTotals, RowRejected
from runner.requests.convert_image import convert_image
from runner.sources.input_files import Inputs
from runner.sources.read import read_rows
from runner.spec.prompt import Block
from runner.spec.spec import Source

Table = tuple[list[str], Iterator[Sequence[Any]]]
"""The column names of a file, and its rows."""

_MAX_ROWS = 20_000


def read_as_source(path: Path, type: str) -> Table:
    """The columns and rows of a file, as the runner reads them."""
    rows = read_rows(Source(type, None, {"path": str(path)}), Inputs(path.parent), limit=None)
    first = next(rows, None)
    if first is None:
        return [], iter(())
    names = list(first.fields)
    return names, (list(row.fields.values()) for row in (row for part in ((first,), rows) for row in part))


def _query(sql: str, path: Path) -> Table:
    import duckdb

    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT * FROM {sql} LIMIT {_MAX_ROWS}", [str(path)])  # noqa: S608
        return [column[0] for column in found.description or ()], iter(found.fetchall())


def read_csv_file(path: Path) -> Table:
    """The same of a CSV file by DuckDB, without any guess about its form."""
    settings = "header=true, all_varchar=true, delim=',', quote='\"', escape='\"', auto_detect=false"
    return _query(f"read_csv(?, {settings}, columns={_csv_columns(path)!r})", path)


def _csv_columns(path: Path) -> dict[str, str]:
    import csv

    with path.open(newline="", encoding="utf-8-sig") as file:
        return dict.fromkeys(next(csv.reader(file), []), "VARCHAR")


def read_workbook(path: Path) -> Table:
    """The same of the first visible sheet of a workbook, by Calamine."""
    import python_calamine

    book = python_calamine.CalamineWorkbook.from_path(str(path))
    visible = (one for one in book.sheets_metadata if one.visible == python_calamine.SheetVisibleEnum.Visible)
    rows = book.get_sheet_by_name(next(visible).name).iter_rows()
    return [str(name) for name in next(rows, [])], (row for row in rows if any(cell != "" for cell in row))


def read_parquet_file(path: Path) -> Table:
    """The same of a Parquet file, by DuckDB."""
    return _query("read_parquet(?)", path)


def attach(path: Path) -> str:
    """The media type of an attachment, which is converted if the API does not take it; raises RowRejected."""
    data, is_document = path.read_bytes(), path.suffix.lower() == ".pdf"
    kind = detect_media_type(data[:4096], path.name)
    if kind in CONVERTIBLE_TYPES:
        convert_image(data, kind, path.name, pages=None, among_many=False)
        return kind
    block = Block("document" if is_document else "image", "path", "")
    return measure_attachment(block, data, path.name, AttachmentTotals())


def load_pdf(path: Path) -> str:
    """Read each page of a PDF with pypdf."""
    import pypdf

    reader = pypdf.PdfReader(path)
    if reader.is_encrypted or not len(reader.pages):
        raise ValueError("encrypted, or without pages")
    return "application/pdf"


def load_image(path: Path) -> str:
    """Decode an image with Pillow."""
    from PIL import Image

    with Image.open(path) as image:
        image.load()
        return f"image/{(image.format or '').lower()}"


def _text(value: Any) -> Any:
    """A value in the form in which the values of two readers are compared."""
    if isinstance(value, float) and math.isfinite(value):
        return int(value) if value.is_integer() else round(value, 9)
    return "" if value is None else value


def compare(ours: Table, theirs: Table, *, exactly: bool) -> str:
    """What differs between two readings of a file: nothing, the columns, a row, or a value."""
    (names, rows), (other_names, other_rows) = ours, theirs
    if len(names) != len(other_names) and names:
        return f"{len(names)} columns, not {len(other_names)}"
    for number, (row, other) in enumerate(islice(zip_longest(rows, other_rows), _MAX_ROWS), 1):
        if row is None or other is None:
            return f"{'fewer' if row is None else 'more'} rows, at {number}"
        if exactly and list(map(_text, row)) != list(map(_text, other)):
            place = next(
                i for i, pair in enumerate(zip(row, other, strict=False)) if _text(pair[0]) != _text(pair[1])
            )
            return f"row {number}, column {place + 1}: {row[place]!r:.40}, not {other[place]!r:.40}"
    return ""


TABLES: dict[str, tuple[str, Callable[[Path], Table]]] = {
    ".csv": ("csv", read_csv_file),
    ".xlsx": ("xlsx", read_workbook),
    ".parquet": ("parquet", read_parquet_file),
}
ATTACHMENTS: dict[str, Callable[[Path], str]] = {
    ".pdf": load_pdf,
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".gif", ".webp", ".tif", ".tiff", ".bmp"), load_image),
}


def _attempt(read: Callable[[], Any]) -> tuple[Any, str]:
    """The result of a reading and why it was refused; any other error is raised."""
    try:
        return read(), ""
    except (InputError, RowRejected) as error:
        return None, " ".join(str(error).split())


def _attempt_other(read: Callable[[], Any]) -> tuple[Any, str]:
    try:
        return read(), ""
    except Exception as error:  # noqa: BLE001 - whatever another reader raises is its way to refuse a file
        return None, f"{type(error).__name__}: {' '.join(str(error).split())}"


def examine(path: Path) -> tuple[str, str]:
    """The verdict about a file, and what differs."""
    kind = path.suffix.lower()
    if kind in TABLES:
        type, read_other = TABLES[kind]
        ours, refused = _attempt(lambda: _read_whole(read_as_source(path, type)))
        theirs, refused_there = _attempt_other(lambda: _read_whole(read_other(path)))
    else:
        ours, refused = _attempt(lambda: attach(path))
        theirs, refused_there = _attempt_other(lambda: ATTACHMENTS[kind](path))
    if refused and refused_there:
        return "refused by both", ""
    if refused or refused_there:
        return ("refused by the runner", refused) if refused else ("refused by the other", refused_there)
    wrong = compare(ours, theirs, exactly=kind == ".csv") if kind in TABLES else ""
    return ("different", wrong) if wrong else ("same", "")


def _read_whole(table: Table) -> Table:
    names, rows = table
    return names, iter(list(islice(rows, _MAX_ROWS)))


def main(folders: Sequence[Path]) -> int:
    """Examine the files of folders, and print what differs; return 1 after a traceback of the runner."""
    counts, tracebacks = Counter[tuple[str, str]](), 0
    paths = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())
    for path in paths:
        if path.suffix.lower() not in (*TABLES, *ATTACHMENTS):
            continue
        try:
            verdict, about = examine(path)
        except Exception:  # noqa: BLE001 - a traceback is a failure here
            tracebacks += 1
            verdict, about = "traceback", traceback.format_exc()
        counts[path.suffix.lower(), verdict] += 1
        if about:
            print(f"{verdict}: {path}: {about if verdict == 'traceback' else about[:300]}", flush=True)
    for (kind, verdict), count in sorted(counts.items()):
        print(f"{count:6,} {kind:8} {verdict}")
    print(f"{tracebacks:6,} tracebacks")
    return int(tracebacks > 0)


if __name__ == "__main__":
    sys.exit(main([Path(one) for one in sys.argv[1:]]))
