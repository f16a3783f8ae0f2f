"""Show a problem with the line that it is about, and a caret below the place."""

import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from runner.cli.echo import escape_line
from runner.errors import Problem
from runner.files.compression import is_compressed
from runner.files.data_types import DATA_TYPES, find_suffix
from runner.files.media_types import detect_media_type

_MAX_READ, _MAX_LINES = 1 << 16, 1_000_000
_WIDTH, _LEAST_WIDTH, _BEFORE = 100, 12, 0.4
_HEAD_BYTES = 4096
_TEXT_TYPES = ("text/", "application/json", "application/xml")
_QUOTED = re.compile(r"'([^']+)'|`([^`]+)`")
_TAG = re.compile(r"\{\{.*?\}\}|\{%.*?%\}")
_WORD = re.compile(r"\"[^\"]*\"|'[^']*'|\{\{.*?\}\}|[^\s,:;{}\[\]()\"']+")


@dataclass(frozen=True, slots=True)
class _Place:
    """The file of a problem, and the text of its line."""

    file: Path
    text: str


def _find_file(path: str, roots: Iterable[Path]) -> Path | None:
    """Return the file that a path means: a spec relative to the working folder, others to a project."""
    is_spec = path.endswith((".yaml", ".yml"))
    for root in (Path(), *roots) if is_spec else (*roots, Path()):
        if (root / path).is_file():
            return root / path
    return None


def _read_line(file: Path, number: int) -> str | None:
    """Return the beginning of a line without its end, or None if it cannot be shown."""
    if is_compressed(str(file)):
        return None
    try:
        with file.open("rb") as stream:
            if not _has_lines(stream.read(_HEAD_BYTES), str(file)):
                return None
            stream.seek(0)
            lines = iter(lambda: stream.readline(_MAX_READ), b"")
            line = next(islice(lines, number - 1, min(number, _MAX_LINES)), None)
    except OSError:
        return None
    text = None if line is None else _decode(line)
    return None if text is None else text.rstrip("\r\n").replace("\t", " ")


def _has_lines(head: bytes, name: str) -> bool:
    """Return whether a file is text by its beginning; the lines of a problem in another one are its rows."""
    kind, named = detect_media_type(head, name), DATA_TYPES.get(find_suffix(name))
    if kind != "application/octet-stream":
        return kind.startswith(_TEXT_TYPES)
    # It may be text in another encoding than UTF-8, or with a stray byte that the problem is about.
    return b"\0" not in head or named in ("csv", "jsonl", "json")


def _decode(line: bytes) -> str | None:
    """Return a line as text, as cp1252 if it is not UTF-8; None if it is neither."""
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return None if b"\0" in line and encoding == "cp1252" else line.decode(encoding)
        except UnicodeDecodeError:
            continue
    return None


def find_column(text: str, message: str) -> int:
    """Return the column of the first word that a message quotes and a line contains, or else of its first text.

    In a line of a template, the word in a tag is meant, and not the same word of the text.
    """
    tags = [match.span() for match in _TAG.finditer(text)]
    for groups in _QUOTED.findall(message):
        word = next(filter(None, groups))
        found = [match.start() for match in re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", text)]
        tagged = [at for at in found if any(start <= at < end for start, end in tags)]
        if found:
            return min(tagged or found) + 1
    return len(text) - len(text.lstrip()) + 1


def _locate(problem: Problem, roots: Iterable[Path]) -> tuple[Problem, str | None]:
    """Return a problem whose path can be opened from here and that has a column, and the text of its line."""
    file = _find_file(problem.path, roots)
    if file is None:
        return problem, None
    shown = replace(problem, path=problem.path if file == Path(problem.path) else os.path.relpath(file))
    text = _read_line(file, problem.line) if problem.line else None
    if text is None:
        return shown, None
    message = problem.message.removesuffix(problem.remedy) if problem.remedy else problem.message
    return replace(shown, column=problem.column or find_column(text, message)), text


def locate_problem(problem: Problem, roots: Iterable[Path]) -> Problem:
    """Return a problem whose path can be opened from the working folder, and that has a column if it has a line.

    `roots` are the folders of the projects that its path may be relative to.
    """
    return _locate(problem, roots)[0]


def _count_cells(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)


def _fit(text: str, width: int) -> int:
    """Return how many characters of a text fit into so many cells of a terminal."""
    return next((count for count in range(width, 0, -1) if _count_cells(text[:count]) <= width), 1)


def _format_excerpt(text: str, line: int, column: int, width: int) -> str:
    """Return a line of a file with its number, cut around the column, and a caret below."""
    from runner.spec.redact import redact_passwords

    start = max(0, column - 1 - int(width * _BEFORE)) if _count_cells(text) > width else 0
    end = start + _fit(text[start:], width)
    before, after = text[start : column - 1], text[column - 1 : end]
    word = _WORD.match(after)
    redacted = redact_passwords(text)
    if redacted != text:
        before, after, word = "", redacted[: _fit(redacted, width)], None
    lead, tail = "…" if start else "", "…" if end < len(text) else ""
    shown = lead + escape_line(before)
    gutter = " " * len(str(line))
    mark = "^" * (_count_cells(escape_line(word[0])) if word else 1)
    lines = [f"{gutter} |", f"{line} | {shown}{escape_line(after)}{tail}"]
    if redacted == text:
        lines.append(f"{gutter} | {' ' * _count_cells(shown)}{mark}")
    return "\n".join(lines)


def format_problem(problem: Problem, roots: Iterable[Path] = (), *, width: int | None = None) -> str:
    """Return a problem as `file:line:column: message`, with the line that it is about.

    That line is cut to `width` columns, and at most to 100 characters; the message is not wrapped.
    """
    located, text = _locate(problem, roots)
    if text is None:
        return str(located)
    frame = len(f"{located.line} | ……")
    room = _WIDTH if width is None else min(max(width - frame, _LEAST_WIDTH), _WIDTH)
    return f"{located}\n{_format_excerpt(text, located.line, min(located.column, len(text) + 1), room)}"
