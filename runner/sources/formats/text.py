"""Strict text decoding with line numbers in errors, and the source with one row per text file."""

import codecs
import io
import re
from collections.abc import Iterator
from functools import partial
from pathlib import PurePath
from typing import Any, BinaryIO, NoReturn

from runner.errors import InputError, Problem
from runner.files.signatures import find_encoding, peek
from runner.io_types.annotations import InputPath
from runner.sources.input_files import Inputs

_LINE_END = re.compile("\r\n|\r|\n")


MAX_RECORD = 100_000_000
"""The longest record: bytes of a JSON line, characters of other text. A request has less than half of it."""


AUTO = "auto"
"""The encoding that the byte order mark names, or else UTF-8."""


ENCODING_REMEDY = "set `encoding`, for example windows-1252, if the file is not UTF-8"


def find_codec(encoding: str, head: bytes = b"") -> str:
    """Return the codec of a `source.encoding`; utf-8 also accepts a byte order mark. Raises InputError.

    For `auto`, `head` are the first bytes of the text.
    """
    if encoding == AUTO:
        return find_encoding(head) or "utf-8-sig"
    try:
        name = codecs.lookup(encoding).name
        io.TextIOWrapper(io.BytesIO(), encoding=name)  # rejects codecs that are not text encodings, such as hex
    except (LookupError, ValueError) as error:
        raise InputError(
            [Problem("source.encoding", f"{encoding!r} is not a text encoding that Python supports")]
        ) from error
    return "utf-8-sig" if name == "utf-8" else name


def raise_input_error(path: str, message: str, line: int = 0) -> NoReturn:
    """Raise an InputError at one place of an input file."""
    raise InputError([Problem(path, message, line)])


def raise_too_long(path: str, line: int) -> NoReturn:
    """Raise an InputError for a record that is too long, which begins on this line."""
    raise_input_error(
        path, f"the record is longer than {MAX_RECORD // 1_000_000} MB, the most that is read for one row", line
    )


def read_lines(path: str, stream: BinaryIO, encoding: str) -> Iterator[str]:
    """Yield the decoded lines of a text, with their line ends.

    Raises InputError with a line number for a NUL character and for bytes that cannot be decoded.
    """
    head = peek(stream)
    codec = find_codec(encoding, head)
    if codec == "utf-8-sig" and (other := find_encoding(head)):
        raise_input_error(path, f"is {other.upper()} text, by its byte order mark: set `encoding: {other}`")
    named = codec.removesuffix("-sig") if encoding == AUTO else encoding
    text = io.TextIOWrapper(stream, encoding=codec, newline="")
    number = 0
    try:
        # A line may be as long as the longest record, but no longer is ever held in memory.
        for number, line in enumerate(iter(partial(text.readline, MAX_RECORD + 1), ""), 1):
            if len(line) > MAX_RECORD:
                raise_too_long(path, number)
            if "\0" in line:
                raise_input_error(path, "contains a NUL character: the file is damaged or binary", number)
            yield line
    except UnicodeDecodeError as error:
        # Text is decoded ahead of the lines, so the bad bytes are on a later line than the last one that was read.
        bad = " ".join(f"{byte:02x}" for byte in error.object[error.start : error.end][:4])
        raise_input_error(
            path,
            f"bytes {bad} are not valid {named} text; {ENCODING_REMEDY}",
            _line_of_error(error, named, number),
        )
    except UnicodeError as error:
        raise_input_error(path, f"not valid {named} text: {error}; {ENCODING_REMEDY}", number + 1)
    finally:
        # It is closed already if both are garbage-collected at once.
        if not stream.closed:
            text.detach()


def _line_of_error(error: UnicodeDecodeError, encoding: str, lines_before: int) -> int:
    # The error names the byte order of UTF-16 and -32, which the setting may leave open.
    name = error.encoding if error.encoding.startswith("utf-") else find_codec(encoding)
    before = error.object[: error.start].decode(name, "replace")
    return lines_before + len(_LINE_END.findall(before)) + 1


def _bound_text(path: str, lines: Iterator[str]) -> Iterator[str]:
    size = 0
    for line in lines:
        size += len(line)
        if size > MAX_RECORD:
            raise_too_long(path, 1)
        yield line


def read_text(
    inputs: Inputs, *, path: InputPath, encoding: str = "utf-8"
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Read text files: one row per file, with path, name and text.

    `path` is relative to the project, `name` is without folders.

    Settings:
        encoding: Text encoding of the file, by its Python name. UTF-8 may begin with a byte order mark. `auto`
            takes the encoding that the byte order mark names, or else UTF-8.
    """
    for name, stream in inputs.open_files(path):
        text = "".join(_bound_text(name, read_lines(name, stream, encoding)))
        yield name, 1, {"path": name, "name": PurePath(name).name, "text": text}
