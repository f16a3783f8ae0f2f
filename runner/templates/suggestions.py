"""The column that a template most probably means, in the form that Jinja reads."""

import re
from collections.abc import Collection
from difflib import get_close_matches

from runner.spec.schema_errors import suggest_similar

_TAG = re.compile(r"\{\{-?\s*(?:row\.)?([^{}|]*?)\s*(?:\|[^{}]*)?-?\}\}")


def write_column(name: str) -> str:
    """Return how a template names a column: `row['Order no.']` if it is not a plain name."""
    return name if name.isidentifier() else f"row[{name!r}]"


def suggest_name(name: str, offered: Collection[str]) -> str:
    """Return the end of a message about an undefined name: the nearest name, or else all of them."""
    near = get_close_matches(name, offered, n=1, cutoff=0.6)
    if near and not near[0].isidentifier():
        return f"write {write_column(near[0])}"
    return suggest_similar(name, [write_column(one) for one in offered])


def suggest_column_tag(text: str, line: int, columns: Collection[str]) -> str:
    """Return what to write for a column with blanks that a line of a template names without quotes, or nothing."""
    lines = text.split("\n")
    for inner in _TAG.findall(lines[line - 1] if 0 < line <= len(lines) else ""):
        near = get_close_matches(inner, [name for name in columns if not name.isidentifier()], n=1, cutoff=0.8)
        if near:
            return f"write {{{{ {write_column(near[0])} }}}} for the column {near[0]!r}"
    return ""


def suggest_column_path(text: str, columns: Collection[str]) -> str:
    """Return what to write for a column with blanks that an expression names without quotes, or nothing."""
    for name in columns:
        if not name.isidentifier() and re.search(rf"(?<![\w'\"]){re.escape(name)}(?![\w'\"])", text):
            return f"write {write_column(name)}"
    return ""
