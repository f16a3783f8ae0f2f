"""Compare one answer with its label."""

import math
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from runner.templates.expressions import compile_expression

MATCH_NAMES = ("expected", "actual")
"""The names that the expression of a `match` may use."""

Match = Callable[[Any, Any], bool]
"""Tells if an answer is right, by the expected and the actual value."""


def _normalize(value: Any) -> Any:
    """Return a value in which equal numbers are written alike: JSON makes no difference between 3 and 3.0."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list | tuple):
        return [_normalize(item) for item in value]
    return {str(name): _normalize(item) for name, item in value.items()} if isinstance(value, dict) else value


def to_text(value: Any) -> str:
    """Return a value as it is compared: a text as it is, and everything else as JSON."""
    if isinstance(value, str):
        return value
    return msgspec.json.encode(_normalize(value), order="sorted").decode()


def fold_text(value: Any) -> str:
    """Return a value as it is compared without letter case."""
    return to_text(value).casefold()


def _read_json(value: Any) -> Any:
    """Return the value of a text that is JSON, and any other value as it is."""
    try:
        return msgspec.json.decode(value) if isinstance(value, str) else value
    except (msgspec.DecodeError, RecursionError):
        return value


def _matches_json(expected: Any, actual: Any) -> bool:
    return to_text(_read_json(expected)) == to_text(_read_json(actual))


def _to_set(value: Any) -> set[str]:
    items = _read_json(value)
    if items is None:
        return set()
    return {to_text(item) for item in items} if isinstance(items, list | tuple) else {to_text(value)}


def to_number(value: Any) -> Decimal:
    """Return a number, or a text that is one, exactly as written. Raises ValueError."""
    try:
        found = Decimal(str(value).strip()) if isinstance(value, str | int | float) else None
    except InvalidOperation:
        found = None
    if found is None or isinstance(value, bool) or not math.isfinite(found):
        raise ValueError(f"{value!r} is no number")
    return found


MATCHES: dict[str, Match] = {
    "exact": lambda expected, actual: to_text(expected) == to_text(actual),
    "casefold": lambda expected, actual: fold_text(expected) == fold_text(actual),
    "json": _matches_json,
    "set": lambda expected, actual: _to_set(expected) == _to_set(actual),
}
"""The named ways to compare; any other `match` is an expression."""

CLASS_KEYS: dict[str, Callable[[Any], str]] = {"exact": to_text, "casefold": fold_text}
"""The ways to compare whose values can be classes, with the text that tells two classes apart."""


def make_match(match: str) -> Match:
    """Return the comparison that a spec names, or writes as an expression. Raises ExpressionError."""
    if match in MATCHES:
        return MATCHES[match]
    evaluate = compile_expression(match, names=MATCH_NAMES)

    def compare(expected: Any, actual: Any) -> bool:
        try:
            return bool(evaluate({"expected": expected, "actual": actual}))
        except ValueError:
            return False

    return compare
