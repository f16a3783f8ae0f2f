"""Guess what a value of the wrong type was meant to be."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

_NUMBER = re.compile(r"\s*\$?\s*(-?\d[\d_,]*(?:\.\d+)?)\s*(%|\$|USD)?\s*")
_PLAIN = re.compile(r"(?!(?:true|false|null|yes|no|on|off|y|n)$)[A-Za-z./_][\w./-]*", re.IGNORECASE)
"""Text that YAML reads as text without quotes."""
_BOOLEANS = {"yes": "true", "on": "true", "true": "true", "no": "false", "off": "false", "false": "false"}


def suggest_value(value: object, wanted: Sequence[str], schema: Mapping[str, Any]) -> str:
    """Return the end of a message about a value that has none of the wanted JSON types, or an empty text."""
    if "array" in wanted and isinstance(value, dict):
        return ": write `- ` before it, so that it is the first item of a list"
    if "array" in wanted and isinstance(value, str | int | float) and not isinstance(value, bool):
        return f": write [{_show(value)}]"
    if isinstance(value, str) and not {"number", "integer"}.isdisjoint(wanted):
        found = _NUMBER.fullmatch(value)
        number = None if found is None else float(re.sub("[_,]", "", found[1])) / (100 if found[2] == "%" else 1)
        if number is not None and ("number" in wanted or number.is_integer()):
            return f": write {int(number) if number.is_integer() else round(number, 10)}"
    if "boolean" in wanted and isinstance(value, str) and value.lower() in _BOOLEANS:
        return f": write {_BOOLEANS[value.lower()]}"
    if "string" in wanted and isinstance(value, int | float) and not isinstance(value, bool):
        expected = schema.get("patternErrorMessage")
        return f": {expected}" if expected else f': write "{value}"'
    return ""


def _show(value: str | float) -> str:
    """Return a value as YAML, quoted if it could be read as anything else."""
    is_safe = not isinstance(value, str) or _PLAIN.fullmatch(value)
    return str(value) if is_safe else json.dumps(value, ensure_ascii=False)
