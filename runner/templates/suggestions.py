"""Suggest what a template or an expression most probably means, in the form that Jinja reads."""

import re
from collections.abc import Callable, Collection
from difflib import get_close_matches

from runner.spec.schema_errors import suggest_similar

_TAG = re.compile(r"\{\{-?\s*(?:row\.)?([^{}|]*?)\s*(?:\|[^{}]*)?-?\}\}")
_BRACES = re.compile(r"\s*\{\{-?\s*(.*?)\s*-?\}\}\s*", re.DOTALL)
_QUOTED_OR_EQUALS = re.compile(r"'[^']*'|\"[^\"]*\"|(?<![=!<>])=(?!=)")
_FILTERS = {"len": "length", "str": "string", "sorted": "sort", "set": "unique"} | {
    name: name for name in ("abs", "float", "int", "list", "max", "min", "round", "sum")
}
"""Functions of Python with the filters that do the same."""


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


def suggest_expression(text: str, is_valid: Callable[[str], bool]) -> str:
    """Return what to write for an invalid expression in braces, or with one `=` for a comparison, or nothing."""
    braces = _BRACES.fullmatch(text)
    if braces is not None and is_valid(braces[1]):
        return f"write `{braces[1]}`, without braces"
    compared = _QUOTED_OR_EQUALS.sub(lambda match: "==" if match[0] == "=" else match[0], text)
    return f"write `{compared}`: `==` compares" if compared != text and is_valid(compared) else ""


def suggest_filter(name: str, text: str) -> str:
    """Return the filter to write for a function of Python that an expression calls, or nothing."""
    call = re.search(rf"(?<![\w.]){re.escape(name)}\(([^(),]*)\)", text)
    if name not in _FILTERS or f"{name}(" not in text:
        return ""
    return f"write `{call[1] if call else 'x'} | {_FILTERS[name]}`"


def suggest_row_field(name: str, columns: Collection[str]) -> str:
    """Return how an expression that has only the whole row names a column, or nothing if it is none."""
    return f"did you mean 'row.{name}'?" if name in columns else ""
