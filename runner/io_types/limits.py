"""Limits of the cells of a sink: check a value, and cut a text that is too long."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time
from decimal import Decimal
from typing import Any, Protocol

from runner.text import shorten_value

CUT_REMEDY = "set `overflow: cut` in this sink, or shorten the text in the expression of the column"
REMOVE_REMEDY = "set `overflow: cut` in this sink to remove them, or replace them in the expression of the column"


class Overflow(ValueError):
    """A value is more than its cell can hold; `remedy` says what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


MAX_BUFFERED_ROWS = 1_000
"""The most rows that a sink takes before it writes them."""


class ColumnError(ValueError):
    """A value of a row cannot be written: the message names its `column`.

    `back` counts the rows that the sink has taken since: it is 0 for the last one.
    """

    def __init__(self, column: str, message: str, *, back: int = 0) -> None:
        super().__init__(f"column {column!r}: {message}" if column else message)
        self.column, self.back = column, back


class Limit(Protocol):
    """The limit of one cell."""

    def check(self, value: Any, /) -> None:
        """Raise Overflow, which says why and what to do, for a value that does not fit."""

    def cut(self, value: Any, /) -> Any:
        """Return what fits of a value. Raises Overflow if nothing of it can be left out."""


@dataclass(frozen=True, slots=True)
class TextLimit:
    """Text of at most `most` units, without the characters that match `refused`; other values fit.

    `place` and `unit` name the cell and its units in messages, and `refused_name` the characters. `measure` counts
    the units of a text; a character has at most `widest`, which `note` explains.
    """

    place: str
    most: int | None = None
    unit: str = "characters"
    measure: Callable[[str], int] = len
    widest: int = 1
    note: str = ""
    refused: re.Pattern[str] | None = None
    refused_name: str = ""

    def check(self, value: Any) -> None:
        """Raise Overflow for text that does not fit."""
        if not isinstance(value, str):
            return
        if self.refused is not None and self.refused.search(value):
            raise Overflow(f"{self.place} cannot hold {self.refused_name}: {shorten_value(value)}", REMOVE_REMEDY)
        if self.most is not None and len(value) * self.widest > self.most and self.measure(value) > self.most:
            size = self.measure(value)
            counted = f"{size:,}{self.note if size != len(value) else ''}"
            most = f"{self.place} can hold at most {self.most:,} {self.unit}"
            raise Overflow(f"{most}, but this text has {counted}: {shorten_value(value)}", CUT_REMEDY)

    def cut(self, value: Any) -> Any:
        """Return the longest beginning of a text that fits, without refused characters."""
        if not isinstance(value, str):
            return value
        text = value if self.refused is None else self.refused.sub("", value)
        if self.most is None or self.measure(text) <= self.most:
            return text
        # The measure grows with the text, so that the longest one that fits is found by halving.
        fits, exceeds = 0, len(text)
        while exceeds - fits > 1:
            middle = (fits + exceeds) // 2
            fits, exceeds = (middle, exceeds) if self.measure(text[:middle]) <= self.most else (fits, middle)
        return text[:fits]


@dataclass(frozen=True, slots=True)
class ExactLimit:
    """Numbers without a fraction, or moments without a time of day, which databases would round in silence."""

    place: str

    def check(self, value: Any) -> None:
        """Raise Overflow for a value that would be rounded."""
        has_fraction = isinstance(value, float | Decimal) and value % 1 != 0
        has_time = isinstance(value, datetime) and value.time() != time()
        if has_fraction or has_time:
            remedy = (
                "change the type of the column in the table, or round the value in the expression of the column"
            )
            raise Overflow(f"{self.place} would round {value}", remedy)

    def cut(self, value: Any) -> Any:
        """Raise Overflow for a value that would be rounded: only text can be cut."""
        self.check(value)
        return value


class JsonWithoutNul:
    """JSON whose texts have no NUL character, as PostgreSQL's jsonb requires."""

    def check(self, value: Any) -> None:
        """Raise Overflow for a value with a NUL character in a text."""
        if self.cut(value) != value:
            message = "a jsonb column cannot hold NUL characters (U+0000)"
            raise Overflow(f"{message}: {shorten_value(value)}", REMOVE_REMEDY)

    def cut(self, value: Any) -> Any:
        """Return a value without the NUL characters in its texts and names."""
        if isinstance(value, str):
            return value.replace("\0", "")
        if isinstance(value, list):
            return [self.cut(part) for part in value]
        if isinstance(value, dict):
            parts = {self.cut(name): self.cut(part) for name, part in value.items()}
            if len(parts) < len(value):
                message = f"without NUL characters, two names of {shorten_value(value)} are the same"
                raise Overflow(message, "rename one in the expression of the column")
            return parts
        return value
