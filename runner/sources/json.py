"""JSON source: an array of objects of any length, read incrementally."""

import codecs
import json
import math
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from runner.sources.inputs import Inputs
from runner.sources.text import fail

_BLOCK = 1 << 16
_SPACE = re.compile(r"[ \t\r\n]*")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not valid JSON")


def _real(text: str) -> float:
    if math.isinf(number := float(text)):
        raise ValueError(f"{text} is too large")
    return number


class _Text:
    """The text of a file from the current position on. Text that was parsed is dropped from memory."""

    def __init__(self, path: str, stream: BinaryIO) -> None:
        self._path, self._stream = path, stream
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()
        self._buffer, self._at, self._line, self._is_whole = "", 0, 1, False
        self._parse = json.JSONDecoder(parse_constant=_no_constant, parse_float=_real).raw_decode

    def _more(self) -> None:
        rest = self._buffer[self._at :]
        # Read as much as is buffered already, so that a long object is parsed only a few times.
        block = self._stream.read(max(_BLOCK, len(rest)))
        self._is_whole = not block
        try:
            self._buffer, self._at = rest + self._decode.decode(block, final=not block), 0
        except UnicodeDecodeError:
            fail(self._path, "not UTF-8 text", self._line)

    def _pass(self, end: int) -> None:
        self._line += self._buffer.count("\n", self._at, end)
        self._at = end

    def next(self) -> str:
        """Return the next non-space character without consuming it, or an empty string at the end."""
        while True:
            match = _SPACE.match(self._buffer, self._at)
            self._pass(match.end() if match else self._at)
            if self._at < len(self._buffer) or self._is_whole:
                return self._buffer[self._at : self._at + 1]
            self._more()

    def take(self, character: str, where: str) -> None:
        """Consume the character that is expected here. Raises InputError if it is another one."""
        if (found := self.next()) != character:
            fail(self._path, f"expected {character!r} {where}, not {found or 'the end of the file'!r}", self._line)
        self._pass(self._at + 1)

    def value(self) -> tuple[int, Any]:
        """Return the line on which the next value begins, and the value. Raises InputError if it is not valid."""
        self.next()
        while True:
            try:
                value, end = self._parse(self._buffer, self._at)
            except (ValueError, RecursionError) as error:
                if not self._is_whole and not isinstance(error, RecursionError):
                    self._more()
                    continue
                message, place = str(error), self._at
                if isinstance(error, json.JSONDecodeError):
                    message, place = error.msg, error.pos
                fail(
                    self._path,
                    f"not valid JSON: {message}",
                    self._line + self._buffer.count("\n", self._at, place),
                )
            line = self._line
            self._pass(end)
            return line, value


def read_json(inputs: Inputs, *, path: str) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Yield one row per object of the array. `line` is the line on which the object begins."""
    for name, stream in inputs.open(path):
        text = _Text(name, stream)
        if text.next() == "{":
            fail(name, "expected an array of objects, not an object: is this a jsonl file?", 1)
        text.take("[", "at the beginning of the array")
        is_first = True
        while text.next() != "]":
            if not is_first:
                text.take(",", "between two objects")
            line, row = text.value()
            if not isinstance(row, dict):
                fail(name, f"an element of the array must be an object, not {type(row).__name__}", line)
            yield name, line, row
            is_first = False
        text.take("]", "at the end of the array")
        if rest := text.next():
            fail(name, f"unexpected {rest!r} after the end of the array: is this a jsonl file?")
