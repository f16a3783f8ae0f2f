"""CSV sink: text and numbers are unchanged, null is an empty cell, all other values are JSON."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import msgspec

from runner.sinks.place import Place

_NUMBER = re.compile(r"[-+]?[0-9.,]+([eE][-+]?[0-9]+)?%?")
_END = "\r\n"
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


@dataclass(frozen=True, slots=True)
class _Lines:
    """A file that ends each record with LF.

    The csv module is set to CR LF so that it quotes a CR in a field.
    """

    file: BinaryIO

    def write(self, record: str) -> None:
        self.file.write(record.removesuffix(_END).encode() + b"\n")


@contextmanager
def write_csv(
    place: Place, columns: Iterable[str], *, delimiter: str = ",", formula_guard: bool = True
) -> Iterator[Callable[[Sequence[Any]], None]]:
    """Yield a function that writes one row of values, in the order of `columns`, below a header line."""
    cell = _guarded if formula_guard else _cell
    with place.file() as file:
        writer = csv.writer(_Lines(file), delimiter=delimiter, lineterminator=_END)
        writer.writerow(columns)

        def write(values: Sequence[Any]) -> None:
            writer.writerow([cell(value) for value in values])

        yield write
