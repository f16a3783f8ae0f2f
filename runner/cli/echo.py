"""The one way to print: characters that a terminal obeys, or that change the order of a text, are shown escaped.

Rows, answers, column names and messages of servers come from strangers.
"""

import re
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.text import Text

# C0 and C1 except tab and line feed, marks that reorder text, line separators, and half surrogate pairs.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


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


def echo(message: str | bytes = "", *, err: bool = False, nl: bool = True) -> None:
    """Print a message to stdout or stderr."""
    text = message.decode("utf-8", "surrogateescape") if isinstance(message, bytes) else message
    click.echo(escape_controls(text), err=err, nl=nl)
