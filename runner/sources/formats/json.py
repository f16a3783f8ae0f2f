"""JSON source: an array of objects of any length, read incrementally."""

import codecs
import json
import math
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from runner.io_types.annotations import InputPath
from runner.sources.formats.text import MAX_RECORD, raise_input_error, raise_too_long
from runner.sources.input_files import Inputs
from runner.sources.json_text import collect_pairs

_BLOCK_CHARS = 1 << 16


_SPACE = re.compile(r"[ \t\r\n]*")


def _reject_constant(name: str) -> Any:
    raise ValueError(f"{name} is not valid JSON: write null, or the number as text")


def _collect_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    try:
        return collect_pairs(pairs)
    except ValueError as error:
        raise ValueError(f"the key {str(error)!r} occurs twice in one object") from error


def _parse_float(text: str) -> float:
    if math.isinf(number := float(text)):
        raise ValueError(f"{text} is too large")
    return number


class _JsonStream:
    """The text of a file from the current position on. Text that was parsed is dropped from memory."""

    def __init__(self, path: str, stream: BinaryIO) -> None:
        self._path, self._stream = path, stream
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()
        self._buffer, self._position, self._line, self._is_at_end = "", 0, 1, False
        self._parse = json.JSONDecoder(
            parse_constant=_reject_constant, parse_float=_parse_float, object_pairs_hook=_collect_pairs
        ).raw_decode

    def _read_more(self) -> None:
        rest = self._buffer[self._position :]
        if len(rest) > MAX_RECORD:
            raise_too_long(self._path, self._line)
        # Read as much as is buffered already, so that a long object is parsed only a few times.
        block = self._stream.read(max(_BLOCK_CHARS, len(rest)))
        self._is_at_end = not block
        try:
            self._buffer, self._position = rest + self._decode.decode(block, final=not block), 0
        except UnicodeDecodeError:
            raise_input_error(self._path, "not UTF-8 text", self._line)

    def _advance(self, end: int) -> None:
        self._line += self._buffer.count("\n", self._position, end)
        self._position = end

    def peek(self) -> str:
        """Return the next non-space character without consuming it, or an empty string at the end."""
        while True:
            match = _SPACE.match(self._buffer, self._position)
            self._advance(match.end() if match else self._position)
            if self._position < len(self._buffer) or self._is_at_end:
                return self._buffer[self._position : self._position + 1]
            self._read_more()

    def expect(self, character: str, where: str) -> None:
        """Consume the character that is expected here. Raises InputError if it is another one."""
        if (found := self.peek()) != character:
            raise_input_error(
                self._path, f"expected {character!r} {where}, not {found or 'the end of the file'!r}", self._line
            )
        self._advance(self._position + 1)

    def read_value(self) -> tuple[int, Any]:
        """Return the line on which the next value begins, and the value. Raises InputError if it is not valid."""
        self.peek()
        while True:
            try:
                value, end = self._parse(self._buffer, self._position)
            except (ValueError, RecursionError) as error:
                # Any other error stays, however much is read.
                if not self._is_at_end and isinstance(error, json.JSONDecodeError):
                    self._read_more()
                    continue
                message, place = str(error), self._position
                if isinstance(error, json.JSONDecodeError):
                    message, place = error.msg, error.pos
                raise_input_error(
                    self._path,
                    f"not valid JSON: {message}",
                    self._line + self._buffer.count("\n", self._position, place),
                )
            if end - self._position > MAX_RECORD:
                raise_too_long(self._path, self._line)
            line = self._line
            self._advance(end)
            return line, value


def read_json(inputs: Inputs, *, path: InputPath) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Read JSON: an array of objects.

    `line` is the line on which the object begins.
    """
    for name, stream in inputs.open_files(path):
        text = _JsonStream(name, stream)
        if text.peek() == "{":
            raise_input_error(name, "expected an array of objects, not an object: is this a jsonl file?", 1)
        text.expect("[", "at the beginning of the array")
        is_first = True
        while text.peek() != "]":
            if not is_first:
                text.expect(",", "between two objects")
            line, row = text.read_value()
            if not isinstance(row, dict):
                raise_input_error(
                    name, f"an element of the array must be an object, not {type(row).__name__}", line
                )
            yield name, line, row
            is_first = False
        text.expect("]", "at the end of the array")
        if rest := text.peek():
            raise_input_error(name, f"unexpected {rest!r} after the end of the array: is this a jsonl file?")
