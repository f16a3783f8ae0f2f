"""JSON Lines source: one object per line. Large numbers keep their value, and blank lines are skipped."""

import codecs
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec

from runner.io_types.annotations import InputPath
from runner.sources.formats.text import MAX_RECORD, raise_input_error, raise_too_long
from runner.sources.input_files import Inputs
from runner.sources.json_text import find_constant, find_repeated_key

_SURROGATE = re.compile(rb"\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]")


def _describe_error(line: bytes, error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8 text"
    if _SURROGATE.search(line):
        return "half of a surrogate pair (\\ud8.. to \\udf..) is not valid text"
    if constant := find_constant(line):
        return f"{constant} is not valid JSON: write null, or the number as text"
    return f"not a JSON object: {error}"


def read_jsonl(inputs: Inputs, *, path: InputPath) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Read JSON Lines: one object per line."""
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    for name, stream in inputs.open_files(path):
        for number, line in enumerate(iter(partial(stream.readline, MAX_RECORD + 1), b""), 1):
            if len(line) > MAX_RECORD:
                raise_too_long(name, number)
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            if not line or line.isspace():
                continue
            try:
                row = decode(line)
                if (repeated := find_repeated_key(line, row)) is not None:
                    raise_input_error(name, f"the key {repeated!r} occurs twice in one object", number)
                yield name, number, row
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise_input_error(name, _describe_error(line, error), number)
