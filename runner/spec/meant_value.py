"""Guess what a value of the wrong type was meant to be."""

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from runner.spec.redact import redact_passwords

_NUMBER = re.compile(r"\s*\$?\s*(-?(?:[1-9]\d{0,2}(?:,\d{3})+|[\d_]*\d)(?:\.\d+)?)\s*(%|\$|USD)?\s*", re.ASCII)
"""A number as people write it. A comma is one of thousands: in `0,5` it may be a decimal point."""
_PLAIN = re.compile(r"(?!(?:true|false|null|yes|no|on|off|y|n)$)[A-Za-z/_][\w./-]*", re.IGNORECASE | re.ASCII)
"""Text that YAML reads as text without quotes."""
_BOOLEANS = {"yes": "true", "on": "true", "true": "true", "no": "false", "off": "false", "false": "false"}
_LONGEST = 80
_AS_ITEM = (
    ": put it into a list: write `- ` before its first key and two more spaces before the others, or [ ] around {}"
)


def suggest_value(value: object, wanted: Sequence[str], schema: Mapping[str, Any]) -> str:
    """Return the end of a message about a value that has none of the wanted JSON types, or an empty text."""
    if "array" in wanted and isinstance(value, dict):
        return _AS_ITEM
    if isinstance(value, str) and len(value) > _LONGEST:
        return ""
    if "array" in wanted and isinstance(value, str | int) and not isinstance(value, bool):
        return f": write [{_show(value)}]" if _can_be_shown(value) else ""
    if isinstance(value, str) and not {"number", "integer"}.isdisjoint(wanted):
        number = _read_number(value, schema)
        if number is not None and ("number" in wanted or number % 1 == 0):
            return f": write {number.normalize():f}"
    if "boolean" in wanted and isinstance(value, str) and value.lower() in _BOOLEANS:
        return f": write {_BOOLEANS[value.lower()]}"
    if "string" in wanted and isinstance(value, int | float) and not isinstance(value, bool):
        # The number is not shown: 1.10 is read as 1.1.
        return f": {schema.get('patternErrorMessage', 'write it in quotes')}"
    return ""


def _read_number(text: str, schema: Mapping[str, Any]) -> Decimal | None:
    """Return the number that a text holds, or None; a percentage is one only where a share is wanted."""
    found = _NUMBER.fullmatch(text)
    if found is None or (found[2] == "%" and schema.get("maximum") != 1):
        return None
    return Decimal(re.sub("[_,]", "", found[1])) / (100 if found[2] == "%" else 1)


def _can_be_shown(value: str | int) -> bool:
    """Return whether a message can repeat a value: it holds no password, and nothing invisible."""
    return isinstance(value, int) or (redact_passwords(value) == value and value.isprintable())


def _show(value: str | int) -> str:
    """Return a value as YAML, quoted if it could be read as anything else."""
    is_safe = not isinstance(value, str) or _PLAIN.fullmatch(value)
    return str(value) if is_safe else json.dumps(value, ensure_ascii=False)
