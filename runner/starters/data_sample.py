"""Look at a data file: its type, its columns, and the column that could be its key."""

import codecs
import csv
import io
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePath
from typing import Any

from runner.errors import InputError, Problem
from runner.files.compression import DECOMPRESSION_ERRORS
from runner.files.data_types import DATA_TYPES, find_suffix
from runner.files.nearest import find_nearest_file
from runner.files.remote import is_url
from runner.sources.input_files import Inputs
from runner.sources.read import read_rows
from runner.spec.spec import Source

MAX_ROWS = 10_000
"""Most rows that are read to guess a key."""

_HEAD_BYTES, _LOOKED_AT, _MAX_KEY = 1 << 20, 20, 64
_DOCUMENTS = (".pdf", ".png", ".jpg", ".jpeg", ".gif", ".webp", ".tif", ".tiff")
_GOLD_NAME = re.compile(r"(gold|expected|ground[ _-]?truth)([ _-].*)?|.*[ _-](gold|expected|truth)", re.IGNORECASE)
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

    `key` is the column that could be the key, if there is one. `usable` lists the columns if the header has others
    without a name or with the same one, which cannot be read.
    """

    settings: dict[str, str]
    columns: list[Column]
    rows: int
    key: str | None
    usable: Sequence[str] = ()

    @property
    def encoding(self) -> str | None:
        """The encoding that was guessed, if the file is not UTF-8."""
        return self.settings.get("encoding")

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


def is_gold_name(name: str) -> bool:
    """Return whether a name is one of right answers, such as `gold`, `gold_label` or `expected total`."""
    return _GOLD_NAME.fullmatch(name.strip()) is not None


def _explain_folder(path: str, root: Path) -> str:
    """Return what to give in place of a folder."""
    names = [one.name for one in (root / path).iterdir() if one.is_file() and find_suffix(one.name) in DATA_TYPES]
    endings = Counter(name[name.lower().rindex(find_suffix(name)) :] for name in names)
    if endings:
        [(ending, _)] = endings.most_common(1)
        return f"it is a folder: name the files in it, for example {str(PurePath(path, f'*{ending}'))!r}"
    return (
        "it is a folder without data files: `runner init documents` writes a spec that sends each PDF of a folder"
    )


def _find_type(path: str, root: Path) -> str:
    """Return the type of source of a file. Raises InputError for an unknown suffix."""
    suffix = find_suffix(path)
    if suffix in DATA_TYPES:
        return DATA_TYPES[suffix]
    if not is_url(path) and (root / path).is_dir():
        raise InputError([Problem(path, _explain_folder(path, root))])
    known = ", ".join(sorted(DATA_TYPES))
    is_document = suffix in _DOCUMENTS or (not suffix and _has_documents(path, root))
    other = "for PDFs and images use `runner init documents`" if is_document else f"known are {known}"
    cause = f"its suffix {suffix!r}" if suffix else "its name, which has no suffix"
    raise InputError([Problem(path, f"cannot tell its type by {cause}: {other}")])


def _has_documents(pattern: str, root: Path) -> bool:
    """Return whether a glob names PDFs or images by their suffixes."""
    try:
        return any(find_suffix(name) in _DOCUMENTS for name in Inputs(root).find_files(pattern))
    except InputError:
        return False


def _read_head(path: str, root: Path) -> bytes:
    """Return the first bytes of the first file, decompressed. Raises InputError."""
    inputs = Inputs(root)
    try:
        with closing(inputs.open_files(path)) as files:
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


@dataclass(frozen=True, slots=True)
class _Table:
    """The first records of a CSV file, as one delimiter splits them."""

    delimiter: str
    names: list[str]
    widths: set[int]

    @classmethod
    def split(cls, head: str, delimiter: str) -> "_Table":
        try:
            records = list(islice(csv.reader(io.StringIO(head, newline=""), delimiter=delimiter), _LOOKED_AT))
        except csv.Error:
            records = []
        # The last record may be cut off.
        widths = {len(one) for one in (records[1:-1] or records[1:])} - {0}
        return cls(delimiter, records[0] if records else [], widths)

    @property
    def usable(self) -> list[str]:
        """The names that are not blank and not repeated."""
        return [name for name in self.names if name.strip() and self.names.count(name) == 1]

    @property
    def rank(self) -> tuple[bool, int]:
        """The table to take is the one that ranks highest: one without mistakes, or else by its header."""
        count = len(self.names)
        is_sound = 1 < count == len(self.usable) and self.widths <= {count}
        is_split = any(name.strip() for name in self.names) and max(self.widths, default=count) > 1
        return is_sound, count if is_split else 0


def _split_head(head: str) -> _Table:
    """Return the first records, split by a comma, or else by the delimiter that fits them best."""
    first, _, rest = head.partition("\n")
    if len(first.rstrip("\r")) == 5 and first.lower().startswith("sep="):
        return _Table.split(rest, first[4])
    return max((_Table.split(head, delimiter) for delimiter in ",;\t|"), key=lambda table: table.rank)


def _look_at_csv(path: str, root: Path) -> tuple[dict[str, str], list[str]]:
    """Return the settings of a CSV source, and the usable columns if its header has other ones too."""
    head = _read_head(path, root)
    encoding = _guess_encoding(head)
    table = _split_head(head.decode(encoding or "utf-8", "replace").removeprefix("\ufeff"))
    delimiter = {} if table.delimiter == "," else {"delimiter": table.delimiter}
    settings = {**delimiter, **({} if encoding is None else {"encoding": encoding})}
    # Without a column of content, the error of the source says more than a spec for the key alone.
    is_enough = table.usable != table.names and not all(map(is_key_name, table.usable))
    return settings, table.usable if is_enough else []


def look_at_data(path: str, root: Path) -> DataSample:
    """Read the first rows of a data file or glob, whose path is relative to `root`. Raises InputError."""
    kind = _find_type(path, root)
    found, usable = _look_at_csv(path, root) if kind == "csv" else ({}, [])
    settings = {"path": path, **found}
    source = Source(kind, None, dict(settings), tuple(usable))
    columns: dict[str, Column] = {}
    candidates, count = _KeyCandidates(), 0
    for row in read_rows(source, Inputs(root), limit=MAX_ROWS):
        if not count:
            candidates.start(list(row.fields))
        candidates.add(row.fields)
        for name, value in row.fields.items():
            column = columns.setdefault(name, Column(name))
            column.rows += 1
            column.has_null |= value is None
            column.is_nested |= isinstance(value, list | dict)
        count += 1
    return DataSample({"type": kind, **settings}, list(columns.values()), count, candidates.choose(), usable)


def path_in_project(written: str, root: Path) -> str:
    """Return a path as a spec names it: relative to the project if it is inside."""
    if is_url(written):
        return written
    # Links are not followed, as for the spec itself.
    path = Path(os.path.abspath(written))
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
