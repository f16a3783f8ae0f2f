"""CSV sink: text and numbers as they are, except formulas; null is an empty cell, other values are JSON."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import msgspec

from runner.io_types.annotations import Delimiter
from runner.sinks.destination import Destination

_NUMBER = re.compile(r"[-+]?[0-9.,]+([eE][-+]?[0-9]+)?%?")


_CRLF = "\r\n"


_FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r")


def _to_cell(value: Any) -> Any:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return value
    if value is None:
        return ""
    return msgspec.json.encode(value).decode()


def _guard_formula(value: Any) -> Any:
    cell = _to_cell(value)
    if isinstance(cell, str) and cell.startswith(_FORMULA_PREFIXES) and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell


@dataclass(frozen=True, slots=True)
class _LineFeedWriter:
    """A file that ends each record with LF.

    The csv module is set to CR LF so that it quotes a CR in a field.
    """

    file: BinaryIO

    def write(self, record: str) -> None:
        self.file.write(record.removesuffix(_CRLF).encode() + b"\n")


@contextmanager
def write_csv(
    destination: Destination, columns: Iterable[str], *, delimiter: Delimiter = ",", formula_guard: bool = True
) -> Iterator[Callable[[Sequence[Any]], None]]:
    """Write CSV below a header line: text (guarded, see `formula_guard`) and numbers, other values as JSON.

    Yield a function that writes one row of values, in the order of `columns`.

    Settings:
        formula_guard: Put ' before text that a spreadsheet would run as a formula. Such text starts with =, +, -
            or @ and is not a number.
    """
    cell = _guard_formula if formula_guard else _to_cell
    with destination.open_file() as file:
        writer = csv.writer(_LineFeedWriter(file), delimiter=delimiter, lineterminator=_CRLF)
        writer.writerow(columns)

        def write(values: Sequence[Any]) -> None:
            writer.writerow([cell(value) for value in values])

        yield write
