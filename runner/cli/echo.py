"""The one way to print: characters that a terminal obeys, or that change the order of a text, are shown escaped.

Rows, answers, column names and messages of servers come from strangers.
"""

import os
import re
import sys
import textwrap
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.text import Text

# C0 and C1 except tab and line feed, marks that reorder text, line separators, and half surrogate pairs.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_COLUMNS = 80
_STYLES = (
    (re.compile(r"^(error|nothing was sent):", re.MULTILINE), "red"),
    (re.compile(r"\bwarning:"), "yellow"),
    (re.compile(r"\b[1-9][\d,]* (succeeded|fixed)\b"), "green"),
    (re.compile(r"\b[1-9][\d,]* (canceled|expired|missing)\b"), "yellow"),
    (re.compile(r"\b[1-9][\d,]* (errored|invalid|refused|regressed|rejected|truncated)\b"), "red"),
)


def escape_controls(text: str) -> str:
    """Return a text whose control characters are written as in JSON, so that printed JSON stays valid."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def escape_line(text: str) -> str:
    """Return a text on one line, so that a message cannot pretend to be the next one."""
    return escape_controls(" ".join(text.split("\n")))


def to_cell(text: str) -> "Text":
    """Return a cell of a table, in which nothing is markup."""
    from rich.text import Text

    return Text(escape_line(text))


def is_smart_terminal(*, err: bool) -> bool:
    """Return whether stdout or stderr is a terminal that can move its cursor."""
    return (sys.stderr if err else sys.stdout).isatty() and os.environ.get("TERM") != "dumb"


def has_color(*, err: bool) -> bool:
    """Return whether stdout or stderr shows colours: not in a pipe, and not against NO_COLOR (no-color.org)."""
    return is_smart_terminal(err=err) and not os.environ.get("NO_COLOR")


def terminal_width(*, err: bool) -> int:
    """Return the columns of the terminal that stdout or stderr is."""
    if (columns := os.environ.get("COLUMNS", "")).isdecimal() and int(columns):
        return int(columns)
    with suppress(OSError, ValueError):
        return os.get_terminal_size((sys.stderr if err else sys.stdout).fileno()).columns or _COLUMNS
    return _COLUMNS


def text_width(*, err: bool) -> int | None:
    """Return the columns for a text on stdout or stderr, or None if it is no terminal: a pipe has no width."""
    return terminal_width(err=err) if (sys.stderr if err else sys.stdout).isatty() else None


def wrap_line(line: str, width: int) -> str:
    """Return a line broken between words, its continuations below its value; words are never cut."""
    if len(line) <= width:
        return line
    label = re.match(r" *(?:\S+ {2,})?", line)
    room = width - max(map(len, line.split()), default=0)
    indent = min(len(label[0]) if label is not None else 0, width // 2, max(room, 0))
    return textwrap.fill(
        line, width, subsequent_indent=" " * (indent or 2), break_long_words=False, break_on_hyphens=False
    )


def _paint(text: str) -> str:
    """Return a text with coloured outcomes and warnings, and a bold heading."""
    for pattern, color in _STYLES:
        text = pattern.sub(partial(_style, fg=color), text)
    return re.sub(r"\A[\w-]+(?=: )", partial(_style, bold=True), text)


def _style(match: re.Match[str], **how: Any) -> str:
    return click.style(match[0], **how)


def echo(message: str | bytes = "", *, err: bool = False, nl: bool = True) -> None:
    """Print a message to stdout or stderr."""
    text = message.decode("utf-8", "surrogateescape") if isinstance(message, bytes) else message
    click.echo(escape_controls(text), err=err, nl=nl)


def print_to_stderr(text: str) -> None:
    """Print a text that is safe already."""
    click.echo(text, err=True)


def format_for_terminal(message: str, *, err: bool, is_wrapped: bool = True) -> str:
    """Return a text for people, safe to print; on a terminal it is wrapped between words, and coloured."""
    text = escape_controls(message)
    if is_wrapped and (width := text_width(err=err)) is not None:
        text = "\n".join(wrap_line(line, width) for line in text.split("\n"))
    return _paint(text) if has_color(err=err) else text


def echo_text(message: str, *, err: bool = False, is_wrapped: bool = True) -> None:
    """Print a text for people, as `format_for_terminal` returns it. A command to copy is not to be wrapped."""
    click.echo(format_for_terminal(message, err=err, is_wrapped=is_wrapped), err=err)
