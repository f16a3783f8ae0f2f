"""Look at a data file: its type, its columns, and the column that could be its key."""

import codecs
import csv
import io
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePath
from typing import Any

from runner.errors import InputError, Problem
from runner.files.compression import DECOMPRESSION_ERRORS, is_compressed
from runner.files.nearest import find_nearest_file
from runner.files.remote import is_url
from runner.sources.input_files import Inputs
from runner.sources.read import read_rows
from runner.spec.spec import Source

TYPES = {
    ".csv": "csv", ".tsv": "csv", ".tab": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json",
    ".parquet": "parquet", ".xlsx": "xlsx",
}  # fmt: skip
"""The type of source for each suffix of a data file."""

MAX_ROWS = 10_000
"""Most rows that are read to guess a key."""

_HEAD_BYTES, _LOOKED_AT, _MAX_KEY = 1 << 20, 20, 64
_KEY_NAME = re.compile(r"(.*[\s_.-])?(id|key|uuid|guid|nr|no|number|code|sku|slug)\.?|.*[a-z]I[dD]", re.IGNORECASE)


@dataclass(slots=True)
class Column:
    """A column: whether some rows do not have it, have null in it, or have a list or mapping in it."""

    name: str
    rows: int = 0
    has_null: bool = False
    is_nested: bool = False


@dataclass(frozen=True, slots=True)
class DataSample:
    """The settings of the source, the columns and the number of rows that were read.

    `key` is the column that could be the key, if there is one. `encoding` is one that was guessed.
    """

    settings: dict[str, str]
    columns: list[Column]
    rows: int
    key: str | None
    encoding: str | None = None

    @property
    def is_whole(self) -> bool:
        """True if all rows of the file were read."""
        return self.rows < MAX_ROWS


@dataclass(slots=True)
class _KeyCandidates:
    """The columns whose values so far are all different, short and not blank."""

    values: dict[str, set[str]] = field(default_factory=dict)

    def start(self, names: Sequence[str]) -> None:
        self.values = {name: set() for name in names}

    def add(self, row: Mapping[str, Any]) -> None:
        for name in list(self.values):
            value = row.get(name)
            is_key = isinstance(value, str | int) and not isinstance(value, bool)
            text = str(value)
            if is_key and text.strip() and len(text) <= _MAX_KEY and text not in self.values[name]:
                self.values[name].add(text)
            else:
                del self.values[name]

    def choose(self) -> str | None:
        """Return the first candidate with a name of keys, or else the first one."""
        return next((name for name in self.values if is_key_name(name)), next(iter(self.values), None))


def is_key_name(name: str) -> bool:
    """Return whether a name is one of keys, such as `id`, `ticket no` or `orderId`."""
    return _KEY_NAME.fullmatch(name.strip()) is not None


def _find_type(path: str) -> str:
    """Return the type of source of a file. Raises InputError for an unknown suffix."""
    name = PurePath(path.partition("?")[0] if is_url(path) else path)
    suffix = (name.with_suffix("") if is_compressed(path) else name).suffix.lower()
    if suffix in TYPES:
        return TYPES[suffix]
    known = ", ".join(sorted(TYPES))
    other = "for PDFs use `runner init documents`" if suffix == ".pdf" else f"known are {known}"
    raise InputError([Problem(path, f"cannot tell its type by its suffix {suffix or '(none)'!r}: {other}")])


def _read_head(path: str, root: Path) -> bytes:
    """Return the first bytes of the first file, decompressed. Raises InputError."""
    inputs = Inputs(root)
    try:
        with closing(inputs.open_files(path)) as files:  # type: ignore[type-var]
            return next((stream.read(_HEAD_BYTES) for _, stream in files), b"")
    except (OSError, *DECOMPRESSION_ERRORS) as error:
        reason = getattr(error, "strerror", None) or str(error)
        near = None if (root / path).exists() else find_nearest_file(root, path)
        hint = "" if near is None else f"; did you mean {near!r}?"
        raise InputError([Problem(path, f"cannot read: {reason}{hint}")]) from error


def _guess_encoding(head: bytes) -> str | None:
    """Return the encoding of a text that is not UTF-8, or None."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "cp1252"
    return None


def _guess_delimiter(head: str) -> str:
    """Return the character that splits the first records into the most columns; a comma if none does."""

    def count_columns(delimiter: str) -> int:
        try:
            records = list(islice(csv.reader(io.StringIO(head, newline=""), delimiter=delimiter), _LOOKED_AT))
        except csv.Error:
            return 0
        names = records[0] if records else []
        is_header = all(name.strip() for name in names) and len(set(names)) == len(names)
        # The last record may be cut off.
        return len(names) if is_header and {len(one) for one in records[1:-1]} <= {0, len(names)} else 0

    return max(",;\t|", key=count_columns)


def _csv_settings(path: str, root: Path) -> dict[str, str]:
    head = _read_head(path, root)
    encoding = _guess_encoding(head)
    delimiter = _guess_delimiter(head.decode(encoding or "utf-8", "replace"))
    shown = {} if delimiter == "," else {"delimiter": delimiter}
    return {**shown, **({} if encoding is None else {"encoding": encoding})}


def look_at_data(path: str, root: Path) -> DataSample:
    """Read the first rows of a data file or glob, whose path is relative to `root`. Raises InputError."""
    kind = _find_type(path)
    settings = {"path": path, **(_csv_settings(path, root) if kind == "csv" else {})}
    columns: dict[str, Column] = {}
    candidates, count = _KeyCandidates(), 0
    for row in read_rows(Source(kind, None, dict(settings)), Inputs(root), limit=MAX_ROWS):
        if not count:
            candidates.start(list(row.fields))
        candidates.add(row.fields)
        for name, value in row.fields.items():
            column = columns.setdefault(name, Column(name))
            column.rows += 1
            column.has_null |= value is None
            column.is_nested |= isinstance(value, list | dict)
        count += 1
    return DataSample(
        {"type": kind, **settings}, list(columns.values()), count, candidates.choose(), settings.get("encoding")
    )


def path_in_project(written: str, root: Path) -> str:
    """Return a path as a spec names it: relative to the project if it is inside."""
    if is_url(written):
        return written
    # Links are not followed, as for the spec itself.
    path = Path(os.path.abspath(written))
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
