"""CSV out: text and numbers as they are, absent values empty, lists and mappings as JSON."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import msgspec

_NUMBER = re.compile(r"[-+]?[0-9.,]+%?")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def _cell(value: Any) -> Any:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return value
    if value is None:
        return ""
    return msgspec.json.encode(value).decode()


def _guarded(value: Any) -> Any:
    cell = _cell(value)
    if isinstance(cell, str) and cell.startswith(_FORMULA) and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell


@contextmanager
def write_csv(
    file: BinaryIO, columns: Sequence[str], *, delimiter: str = ",", formula_guard: bool = True
) -> Iterator[Callable[[Sequence[Any]], None]]:
    """Yield a function that writes one row of values, in the order of `columns`, below a header line."""
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=False)
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    writer.writerow(columns)
    cell = _guarded if formula_guard else _cell

    def write(values: Sequence[Any]) -> None:
        writer.writerow([cell(value) for value in values])

    try:
        yield write
    finally:
        text.detach()
