"""CSV sink: text and numbers as they are, except formulas; null is an empty cell, other values are JSON."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from runner.io_types.annotations import Delimiter
from runner.sinks.destination import Destination

_NUMBER = re.compile(r"[-+]?[0-9.,]+([eE][-+]?[0-9]+)?%?")


_EMPTY = '""'


_FORMULA_PREFIXES = ("=", "+", "-", "@", "\t", "\r")


def _to_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return repr(value) if is_number else msgspec.json.encode(value).decode()


def _guard_formula(value: Any) -> str:
    text = _to_text(value)
    is_number = isinstance(value, int | float)
    if text.startswith(_FORMULA_PREFIXES) and not is_number and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def _make_quote(delimiter: str) -> Callable[[str], str]:
    """Return the function that puts a cell in quotes if it holds a quote, a delimiter or a line break.

    The csv module looks at each character of a cell, which takes longer than all else about a row.
    """

    def quote(text: str) -> str:
        if '"' in text:
            return '"' + text.replace('"', '""') + '"'
        return f'"{text}"' if delimiter in text or "\n" in text or "\r" in text else text

    return quote


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
    to_text, quote = _guard_formula if formula_guard else _to_text, _make_quote(delimiter)
    with destination.open_file() as file:

        def write(values: Sequence[Any]) -> None:
            write_cells(map(to_text, values))

        def write_cells(cells: Iterable[str]) -> None:
            line = delimiter.join(map(quote, cells))
            # A record of one empty cell would be a blank line, which is no record.
            file.write(f"{line or _EMPTY}\n".encode())

        write_cells(columns)
        yield write
