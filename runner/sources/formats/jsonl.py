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

_SURROGATE = re.compile(rb"\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]")


def _describe_error(line: bytes, error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8 text"
    if _SURROGATE.search(line):
        return "half of a surrogate pair (\\ud8.. to \\udf..) is not valid text"
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
                yield name, number, decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise_input_error(name, _describe_error(line, error), number)
