"""Find what JSON texts may not contain, though some libraries accept it: repeated keys, NaN, infinity."""

import json
from typing import Any


class _FoundError(ValueError):
    """An error: what was looked for was found; its text is the message."""


def collect_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object with these keys. Raises ValueError for a repeated key, of which only one would be kept."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _FoundError(next(name for name in names if names.count(name) > 1))
    return found


def find_repeated_key(line: bytes, value: Any) -> str | None:
    """Return a key that an object of a JSON text has twice, or None; `value` is the text as it was read."""
    # Each key is followed by a colon, so a text with as many of them as keys repeats none.
    if line.count(b'":') == _count_keys(value):
        return None
    try:
        json.loads(line, object_pairs_hook=collect_pairs)
    except _FoundError as found:
        return str(found)
    return None


def _count_keys(value: Any) -> int:
    if isinstance(value, dict):
        nested = sum(_count_keys(part) for part in value.values() if isinstance(part, dict | list))
        return len(value) + nested
    return sum(_count_keys(part) for part in value if isinstance(part, dict | list))


def find_constant(text: bytes) -> str | None:
    """Return the first of NaN, Infinity and -Infinity in a JSON text, or None."""

    def stop(name: str) -> None:
        raise _FoundError(name)

    try:
        json.loads(text, parse_constant=stop)
    except _FoundError as found:
        return str(found)
    except (ValueError, RecursionError):
        return None
    return None
