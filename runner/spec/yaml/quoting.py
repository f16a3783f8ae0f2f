"""Quote the values that YAML cannot read: those with `{{ … }}`, `${env:…}` or `: `; find quotes without an end."""

import re
from collections.abc import Iterator

import yaml

_KEY = r"[\w$.-]+:\s+"
_BLOCK_VALUE = re.compile(
    rf"(?P<start>\s*(?:-\s+)*{_KEY}|\s*(?:-\s+)+(?!{_KEY}))(?P<value>(?![\"'|>&*!\[?]|\{{(?!\{{)).*\S)\s*"
)

# A value inside brackets or braces ends at a comma or bracket, unless that is part of a reference.
_FLOW_VALUE = re.compile(
    r"\"[^\"]*\"|'[^']*'|"
    rf"(?P<start>:\s+|[\[,]\s*(?!\s|{_KEY}))"
    r"(?P<value>(?:\$\{env:\w*\}|\{\{.*?\}\}|[^,\[\]{}\"'\s]|\s(?![\s,\]}]))+)"
)

_BRACED_EXPRESSION = re.compile(
    r"(?P<start>\s*(?:-\s+)*(?:check|where):\s+)\{\{\s*(?P<value>[\w(](?:(?!: | #|[{}]).)*?)\s*\}\}\s*"
)
_NO_BRACES = "an expression is written without braces"

_REASONS = (
    ("{{", "a value with `{{` must be quoted, because { opens a YAML mapping"),
    ("${", "a value with `${` must be quoted inside braces, where } ends a YAML mapping"),
    (": ", "a value with `: ` must be quoted, because that separates a YAML key from its value"),
)


def find_quote_reason(line: str) -> str | None:
    """Return why a value of a line must be quoted, or None if there is no reason that is known."""
    if _BRACED_EXPRESSION.fullmatch(line):
        return _NO_BRACES
    value = line.partition(": ")[2] or line
    return next((reason for sign, reason in _REASONS if sign in value), None)


def quote_values(line: str) -> str:
    """Return a line whose values with references or `: ` are quoted; the same line if there are none.

    An expression in braces loses them instead.
    """
    if expression := _BRACED_EXPRESSION.fullmatch(line):
        return expression["start"] + expression["value"]
    block = _BLOCK_VALUE.fullmatch(line)
    if block is not None and find_quote_reason(f": {block['value']}") is not None:
        return block["start"] + _quote(block["value"])
    return _FLOW_VALUE.sub(_quote_match, line)


def _quote_match(match: re.Match[str]) -> str:
    value = match["value"]
    if value is None:
        return match[0]  # It is quoted already.
    needs_quotes = any(sign in value for sign, _ in _REASONS)
    return match["start"] + (_quote(value) if needs_quotes else value)


def _quote(value: str) -> str:
    if '"' in value or "\\" in value:
        return "'" + value.replace("'", "''") + "'"
    return f'"{value}"'


def find_open_quote(error: yaml.YAMLError, text: str) -> tuple[int, int] | None:
    """Return the line and column of the quote that an error of YAML comes from, because its end is missing."""
    mark = getattr(error, "context_mark", None)
    if mark is not None and getattr(error, "context", None) == "while scanning a quoted scalar":
        return mark.line + 1, mark.column + 1
    place = getattr(error, "problem_mark", None)
    if place is None:
        return None
    # The quote then seems to end at the next one, which YAML does not expect there.
    for token in _scan_to_error(text):
        start, end = token.start_mark, token.end_mark
        is_quoted = isinstance(token, yaml.ScalarToken) and token.style in ("'", '"')
        if is_quoted and start.line < end.line and (end.line, end.column) == (place.line, place.column):
            return start.line + 1, start.column + 1
    return None


def _scan_to_error(text: str) -> Iterator[yaml.Token]:
    try:
        yield from yaml.scan(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError:
        return
